//! Content blocks: snippets that templates include by name, kept in versions as templates are.

use std::collections::HashMap;

use tidings_domain::BlockId;
use tidings_liquid::Template;
use tidings_store::Page;
pub use tidings_store::blocks::Block;
pub use tidings_store::templates::Version;

use crate::diff::{self, PartDiff};
use crate::messages::Blocks;
use crate::{Ctx, Error, Fault, Result, templates};

/// The most that a block may take, in bytes.
const MAX_BYTES: usize = 200_000;

/// What includes a block or shows a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub kind: UseKind,
    pub id: uuid::Uuid,
    pub name: String,
    /// The version, where it is not the newest but a campaign still sends it.
    pub pinned_version: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseKind {
    Template,
    Block,
}

/// One block by its id.
pub async fn get(ctx: &Ctx, id: BlockId) -> Result<Block> {
    let found = ctx.workspace.block(id).await?;
    found.ok_or_else(|| Error::NotFound(format!("block {id}")))
}

/// A block as it was at a version.
pub async fn at_version(ctx: &Ctx, id: BlockId, version: i32) -> Result<Block> {
    let found = ctx.workspace.block_at(id, version).await?;
    found.ok_or_else(|| Error::NotFound(format!("version {version} of the block")))
}

/// A page of blocks, oldest first.
pub async fn page(ctx: &Ctx, after: i32, limit: usize) -> Result<Page<Block, i32>> {
    Ok(ctx.workspace.blocks(after, limit).await?)
}

/// Saves a new block. Its name is how templates call it, so it never changes.
pub async fn create(ctx: &Ctx, name: &str, body: &str) -> Result<BlockId> {
    check_name(name)?;
    check_body(ctx, name, body).await?;
    Ok(ctx.workspace.add_block(name, body, ctx.now()).await?)
}

/// Saves a new version of a block. Campaigns that have begun go on with the one they began with.
pub async fn change(ctx: &Ctx, id: BlockId, body: &str) -> Result<()> {
    let block = get(ctx, id).await?;
    check_body(ctx, &block.name, body).await?;
    match ctx.workspace.put_block(id, body, ctx.now()).await? {
        Some(_) => Ok(()),
        None => Err(Error::NotFound(format!("block {id}"))),
    }
}

/// Drops a block that nothing includes.
pub async fn drop(ctx: &Ctx, id: BlockId) -> Result<()> {
    if !ctx.workspace.is_done_already().await? {
        let block = get(ctx, id).await?;
        if let Some(first) = uses(ctx, &block.name).await?.first() {
            let text = format!("{} includes this block", first.name);
            return Err(Error::Conflict(text));
        }
    }
    match ctx.workspace.drop_block(id).await? {
        true => Ok(()),
        false => Err(Error::NotFound(format!("block {id}"))),
    }
}

/// The versions of a block, newest first.
pub async fn versions(
    ctx: &Ctx,
    id: BlockId,
    before: i32,
    limit: usize,
) -> Result<Page<Version, i32>> {
    get(ctx, id).await?;
    Ok(ctx.workspace.block_versions(id, before, limit).await?)
}

/// Saves what stood at an older version as the newest one.
pub async fn restore(ctx: &Ctx, id: BlockId, version: i32) -> Result<()> {
    let old = at_version(ctx, id, version).await?;
    change(ctx, id, &old.body).await
}

/// What changed from one version to another.
pub async fn compare(ctx: &Ctx, id: BlockId, from: i32, to: i32) -> Result<Vec<PartDiff>> {
    let old = at_version(ctx, id, from).await?;
    let new = at_version(ctx, id, to).await?;
    Ok(diff::parts([("body".to_owned(), old.body, new.body)]))
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    tidings_domain::schema::checked_name(name).map_err(|text| Error::invalid("name", text))?;
    let fits = |c: char| c.is_alphanumeric() || " _-./".contains(c);
    if !name.chars().all(fits) {
        let text = "expected letters, digits, blanks and _ - . / alone, as templates write it";
        return Err(Error::invalid("name", text));
    }
    Ok(())
}

async fn check_body(ctx: &Ctx, name: &str, body: &str) -> Result<()> {
    let template = parsed(body)?;
    let names = template.includes().into_iter().map(|one| one.name).collect();
    check_includes(name, &template, &Blocks::load(ctx, names, ctx.now()).await?)
}

/// Checks a body among all blocks by their names.
pub(crate) fn check_among(name: &str, body: &str, all: &HashMap<String, String>) -> Result<()> {
    let template = parsed(body)?;
    let names = template.includes().into_iter().map(|one| one.name).collect();
    check_includes(name, &template, &Blocks::among(names, all))
}

fn parsed(body: &str) -> Result<Template> {
    if body.len() > MAX_BYTES {
        return Err(Error::invalid("body", "a block has at most 200,000 bytes"));
    }
    if body.contains('\0') {
        return Err(Error::invalid("body", "a block has no NUL characters"));
    }
    Template::parse(body)
        .map_err(|error| Error::Invalid(vec![crate::messages::parse_fault("body", &error)]))
}

fn check_includes(name: &str, template: &Template, blocks: &Blocks) -> Result<()> {
    let mut faults = Vec::new();
    for one in template.includes() {
        let fault = if one.name == name {
            Some(("cycle", format!("'{name}' would include itself")))
        } else if blocks.get(&one.name).is_none() {
            Some(("unknown_block", format!("no content block is named '{}'", one.name)))
        } else if reaches(blocks, &one.name, name) {
            Some(("cycle", format!("'{}' includes '{name}' already", one.name)))
        } else {
            None
        };
        let place = crate::messages::place(one.line, one.column);
        faults.extend(fault.map(|(code, message)| Fault {
            path: "body".to_owned(),
            code,
            message,
            place,
        }));
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// Whether a block includes another one, by however many steps.
fn reaches(blocks: &Blocks, from: &str, wanted: &str) -> bool {
    let mut seen = HashMap::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        if seen.insert(name.clone(), ()).is_some() {
            continue;
        }
        if let Some(block) = blocks.get(&name) {
            open.extend(block.includes().into_iter().map(|one| one.name));
        }
        if open.iter().any(|name| name == wanted) {
            return true;
        }
    }
    false
}

/// What includes a block by its name: templates at their newest version, versions that a campaign
/// still sends, and other blocks. A name that a template computes is not seen.
pub async fn uses(ctx: &Ctx, name: &str) -> Result<Vec<Use>> {
    let includes = |text: &str| {
        text.contains(name)
            && Template::parse(text)
                .is_ok_and(|template| template.includes().iter().any(|one| one.name == name))
    };
    uses_of(ctx, includes).await
}

/// The templates and blocks with a text of which something is true.
pub(crate) async fn uses_of(ctx: &Ctx, is_it: impl Fn(&str) -> bool) -> Result<Vec<Use>> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let page = ctx.workspace.templates(after, 100).await?;
        for one in page.items {
            if templates::texts(&one).any(&is_it) {
                found.push(Use {
                    kind: UseKind::Template,
                    id: one.id.0,
                    name: one.name,
                    pinned_version: None,
                });
            }
        }
        let Some(next) = page.next else { break };
        after = next;
    }
    for one in ctx.workspace.pinned_templates().await? {
        if templates::texts(&one).any(&is_it) {
            found.push(Use {
                kind: UseKind::Template,
                id: one.id.0,
                name: one.name,
                pinned_version: Some(one.version),
            });
        }
    }
    let mut after = 0;
    loop {
        let page = ctx.workspace.blocks(after, 100).await?;
        for one in page.items {
            if is_it(&one.body) {
                found.push(Use {
                    kind: UseKind::Block,
                    id: one.id.0,
                    name: one.name,
                    pinned_version: None,
                });
            }
        }
        let Some(next) = page.next else { break };
        after = next;
    }
    Ok(found)
}
