//! `/v1/blocks`: snippets that templates include by name.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::{BlockId, Timestamp};
use tidings_engine::blocks::{self, Block as Stored, Use as StoredUse, UseKind};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadTemplates, WriteTemplates};
use crate::errors::Result;
use crate::input::{Input, Path, Query};
use crate::paging::{List, Paging};
use crate::templates::{DiffQuery, PartDiff, RestoreInput, Version, part_diff, version};

/// A block as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockSummary {
    pub id: Uuid,
    pub number: i32,
    /// What templates call it by.
    #[schema(example = "footer")]
    pub name: String,
    pub version: i32,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Block {
    #[serde(flatten)]
    pub summary: BlockSummary,
    /// Liquid and HTML.
    pub body: String,
}

/// A block to save. A template includes it by `{{content_blocks.${name}}}` or `{% render 'name' %}`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockInput {
    #[schema(example = "footer")]
    pub name: String,
    #[schema(example = "<p>{{ workspace.name }}</p>")]
    pub body: String,
}

/// A block's new text; its name stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockChange {
    pub body: String,
}

/// Where something is used.
#[derive(Debug, Serialize, ToSchema)]
pub struct Use {
    /// `template` or `block`.
    #[schema(example = "template")]
    pub kind: &'static str,
    pub id: Uuid,
    pub name: String,
    /// The version, where it is not the newest one but a campaign still sends it.
    pub version: Option<i32>,
}

pub(crate) fn used(stored: StoredUse) -> Use {
    Use {
        kind: match stored.kind {
            UseKind::Template => "template",
            UseKind::Block => "block",
        },
        id: stored.id,
        name: stored.name,
        version: stored.pinned_version,
    }
}

fn block_summary(stored: &Stored) -> BlockSummary {
    BlockSummary {
        id: stored.id.0,
        number: stored.number,
        name: stored.name.clone(),
        version: stored.version,
        updated_at: stored.updated_at,
    }
}

fn block(stored: Stored) -> Json<Block> {
    Json(Block { summary: block_summary(&stored), body: stored.body })
}

/// Blocks, oldest first.
#[utoipa::path(get, path = "/v1/blocks", tag = "Content blocks",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(Paging),
    responses((status = 200, body = List<BlockSummary>)))]
pub async fn list(
    call: Call<ReadTemplates>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<BlockSummary>>> {
    let page = blocks::page(&call.ctx, paging.place()?.unwrap_or(0), paging.limit()?).await?;
    Ok(Json(List::page(page.items.iter().map(block_summary).collect(), page.next)))
}

/// Save a new block.
#[utoipa::path(post, path = "/v1/blocks", tag = "Content blocks", request_body = BlockInput,
    security(("token" = ["templates"]), ("session" = ["editor"])), responses((status = 201, body = Block)))]
pub async fn create(
    call: Call<WriteTemplates>,
    Input(body): Input<BlockInput>,
) -> Result<(StatusCode, Json<Block>)> {
    let id = blocks::create(&call.ctx, &body.name, &body.body).await?;
    Ok((StatusCode::CREATED, block(blocks::get(&call.ctx, id).await?)))
}

/// One block with its text.
#[utoipa::path(get, path = "/v1/blocks/{id}", tag = "Content blocks",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Block)))]
pub async fn show(call: Call<ReadTemplates>, Path(id): Path<Uuid>) -> Result<Json<Block>> {
    Ok(block(blocks::get(&call.ctx, BlockId(id)).await?))
}

/// Save a new version of a block. One that would include itself, by however many steps, is refused.
#[utoipa::path(put, path = "/v1/blocks/{id}", tag = "Content blocks",
    request_body = BlockChange, security(("token" = ["templates"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)), responses((status = 200, body = Block)))]
pub async fn put(
    call: Call<WriteTemplates>,
    Path(id): Path<Uuid>,
    Input(body): Input<BlockChange>,
) -> Result<Json<Block>> {
    blocks::change(&call.ctx, BlockId(id), &body.body).await?;
    Ok(block(blocks::get(&call.ctx, BlockId(id)).await?))
}

/// Remove a block that nothing includes.
#[utoipa::path(delete, path = "/v1/blocks/{id}", tag = "Content blocks",
    security(("token" = ["templates"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<WriteTemplates>, Path(id): Path<Uuid>) -> Result<StatusCode> {
    blocks::drop(&call.ctx, BlockId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The templates and blocks that include a block.
#[utoipa::path(get, path = "/v1/blocks/{id}/uses", tag = "Content blocks",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = List<Use>)))]
pub async fn uses(call: Call<ReadTemplates>, Path(id): Path<Uuid>) -> Result<Json<List<Use>>> {
    let stored = blocks::get(&call.ctx, BlockId(id)).await?;
    let uses = blocks::uses(&call.ctx, &stored.name).await?;
    Ok(Json(List::whole(uses.into_iter().map(used).collect())))
}

/// The versions of a block, newest first.
#[utoipa::path(get, path = "/v1/blocks/{id}/versions", tag = "Content blocks",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<Version>)))]
pub async fn versions(
    call: Call<ReadTemplates>,
    Path(id): Path<Uuid>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Version>>> {
    let before = paging.place()?.unwrap_or(i32::MAX);
    let page = blocks::versions(&call.ctx, BlockId(id), before, paging.limit()?).await?;
    Ok(Json(List::page(page.items.into_iter().map(version).collect(), page.next)))
}

/// A block as it was at a version.
#[utoipa::path(get, path = "/v1/blocks/{id}/versions/{version}", tag = "Content blocks",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), ("version" = i32, Path)),
    responses((status = 200, body = Block)))]
pub async fn show_version(
    call: Call<ReadTemplates>,
    Path((id, version)): Path<(Uuid, i32)>,
) -> Result<Json<Block>> {
    Ok(block(blocks::at_version(&call.ctx, BlockId(id), version).await?))
}

/// What changed from one version to another, line by line.
#[utoipa::path(get, path = "/v1/blocks/{id}/diff", tag = "Content blocks",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), DiffQuery),
    responses((status = 200, body = List<PartDiff>)))]
pub async fn diff(
    call: Call<ReadTemplates>,
    Path(id): Path<Uuid>,
    Query(query): Query<DiffQuery>,
) -> Result<Json<List<PartDiff>>> {
    let parts = blocks::compare(&call.ctx, BlockId(id), query.from, query.to).await?;
    Ok(Json(List::whole(parts.into_iter().map(part_diff).collect())))
}

/// Save what stood at an older version as the newest one.
#[utoipa::path(post, path = "/v1/blocks/{id}/restore", tag = "Content blocks",
    request_body = RestoreInput, security(("token" = ["templates"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)), responses((status = 200, body = Block)))]
pub async fn restore(
    call: Call<WriteTemplates>,
    Path(id): Path<Uuid>,
    Input(body): Input<RestoreInput>,
) -> Result<Json<Block>> {
    blocks::restore(&call.ctx, BlockId(id), body.version).await?;
    Ok(block(blocks::get(&call.ctx, BlockId(id)).await?))
}
