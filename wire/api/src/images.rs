//! `/v1/images`: the pictures of mails.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::{ImageId, Timestamp};
use tidings_engine::Ctx;
use tidings_engine::images::{self, Image as Stored};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::blocks::{Use, used};
use crate::call::{Call, ReadTemplates, WriteTemplates};
use crate::errors::Result;
use crate::input::{Path, Query, Whole};
use crate::paging::{List, Paging};

#[derive(Debug, Serialize, ToSchema)]
pub struct Image {
    pub id: Uuid,
    pub number: i32,
    pub name: String,
    /// Where everybody who has the address sees it; nobody can guess it.
    pub url: String,
    /// `png`, `jpg`, `gif` or `webp`.
    #[schema(example = "png")]
    pub kind: String,
    /// In pixels.
    pub width: i64,
    pub height: i64,
    pub size_bytes: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImageQuery {
    /// For you and your colleagues; the picture's own name is none of its address.
    #[param(example = "autumn.png")]
    pub name: Option<String>,
}

fn image(ctx: &Ctx, stored: Stored) -> Image {
    Image {
        id: stored.id.0,
        number: stored.number,
        url: images::url(ctx, &stored),
        name: stored.name,
        kind: stored.kind,
        width: stored.width,
        height: stored.height,
        size_bytes: stored.size_bytes,
        created_at: stored.created_at,
    }
}

/// Pictures, newest first.
#[utoipa::path(get, path = "/v1/images", tag = "Images",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(Paging),
    responses((status = 200, body = List<Image>)))]
pub async fn list(
    call: Call<ReadTemplates>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Image>>> {
    let before = paging.place()?.unwrap_or(i32::MAX);
    let page = images::page(&call.ctx, before, paging.limit()?).await?;
    let items = page.items.into_iter().map(|stored| image(&call.ctx, stored)).collect();
    Ok(Json(List::page(items, page.next)))
}

/// Upload a PNG, JPEG, GIF or WebP picture of at most 5 MB as the body. What it is, is seen from
/// its content, not from what the call says.
#[utoipa::path(post, path = "/v1/images", tag = "Images",
    security(("token" = ["templates"]), ("session" = ["editor"])), params(ImageQuery),
    request_body(content((String = "image/png"), (String = "image/jpeg"), (String = "image/gif"),
        (String = "image/webp"), (String = "application/octet-stream"))),
    responses((status = 201, body = Image)))]
pub async fn upload(
    call: Call<WriteTemplates>,
    Query(query): Query<ImageQuery>,
    Whole(bytes): Whole,
) -> Result<(StatusCode, Json<Image>)> {
    let name = query.name.unwrap_or_else(|| "picture".to_owned());
    let id = images::create(&call.ctx, &name, bytes.to_vec()).await?;
    let stored = images::get(&call.ctx, id).await?;
    Ok((StatusCode::CREATED, Json(image(&call.ctx, stored))))
}

/// One picture.
#[utoipa::path(get, path = "/v1/images/{id}", tag = "Images",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Image)))]
pub async fn show(call: Call<ReadTemplates>, Path(id): Path<Uuid>) -> Result<Json<Image>> {
    let stored = images::get(&call.ctx, ImageId(id)).await?;
    Ok(Json(image(&call.ctx, stored)))
}

/// The templates and blocks that show a picture.
#[utoipa::path(get, path = "/v1/images/{id}/uses", tag = "Images",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = List<Use>)))]
pub async fn uses(call: Call<ReadTemplates>, Path(id): Path<Uuid>) -> Result<Json<List<Use>>> {
    let stored = images::get(&call.ctx, ImageId(id)).await?;
    let uses = images::uses(&call.ctx, &stored).await?;
    Ok(Json(List::whole(uses.into_iter().map(used).collect())))
}

/// Remove a picture that no template or block shows. Mails that went out with it lose it too.
#[utoipa::path(delete, path = "/v1/images/{id}", tag = "Images",
    security(("token" = ["templates"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<WriteTemplates>, Path(id): Path<Uuid>) -> Result<StatusCode> {
    images::drop(&call.ctx, ImageId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
