//! The content blocks that a template includes, and those that they include in turn.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_domain::Timestamp;
use tidings_liquid::Template;

use crate::{Ctx, Result};

/// How deep blocks may include each other; a cycle is refused when a block is saved.
const MAX_DEPTH: usize = 20;

/// Parsed blocks by their names.
#[derive(Clone, Default)]
pub struct Blocks {
    found: HashMap<String, Arc<Template>>,
    /// The texts of the blocks, for the links that stand in them.
    pub bodies: Vec<(String, String)>,
}

impl Blocks {
    /// Reads the named blocks, and what they include, as they stood at a time.
    pub async fn load(ctx: &Ctx, names: Vec<String>, at: Timestamp) -> Result<Blocks> {
        let mut blocks = Blocks::default();
        let mut wanted = names;
        for _ in 0..MAX_DEPTH {
            let mut next = Vec::new();
            for name in std::mem::take(&mut wanted) {
                if blocks.found.contains_key(&name) {
                    continue;
                }
                let Some(block) = ctx.workspace.block_named(&name, at).await? else { continue };
                next.extend(blocks.keep(name, block.body));
            }
            if next.is_empty() {
                break;
            }
            wanted = next;
        }
        Ok(blocks)
    }

    /// Takes the named blocks, and what they include, out of all texts by their names.
    pub fn among(names: Vec<String>, all: &HashMap<String, String>) -> Blocks {
        let mut blocks = Blocks::default();
        let mut wanted = names;
        while let Some(name) = wanted.pop() {
            if blocks.found.contains_key(&name) {
                continue;
            }
            if let Some(body) = all.get(&name) {
                wanted.extend(blocks.keep(name, body.clone()));
            }
        }
        blocks
    }

    /// Keeps one; gives the names of those that it includes.
    fn keep(&mut self, name: String, body: String) -> Vec<String> {
        // What was saved has been parsed; a text that is not is as good as missing.
        let Ok(template) = Template::parse(&body) else { return Vec::new() };
        let included = template.includes().into_iter().map(|included| included.name).collect();
        self.found.insert(name.clone(), Arc::new(template));
        self.bodies.push((name, body));
        included
    }

    pub fn get(&self, name: &str) -> Option<Arc<Template>> {
        self.found.get(name).cloned()
    }

    /// The parsed blocks.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.found.values().map(Arc::as_ref)
    }
}
