//! Liquid, as Shopify speaks it, with the forms Braze adds. A pure codec: a template and data go
//! in, text comes out. It opens no file, makes no request, reads no clock but the deadline helper,
//! and knows nothing of the hub.
//!
//! ```
//! use tidings_liquid::{Context, Rendered, Template, Value};
//!
//! let template = Template::parse("Hello {{ name | capitalize }}!").unwrap();
//! let mut context = Context::new(jiff::Zoned::now());
//! let variables = [("name", Value::from("ada"))];
//! context.variables = &variables;
//! assert_eq!(template.render(&context).unwrap(), Rendered::Complete("Hello Ada!".into()));
//! ```

mod ast;
mod context;
mod error;
mod fetch;
mod filters;
mod lexer;
mod number;
mod parse;
mod pieces;
mod render;
mod shown;
mod template;
mod tokens;
mod value;
mod variables;

pub use context::{Answers, Context, DEFAULT_TIME, Escape, Limits, Opaque, Templates, deadline};
pub use error::{ParseError, RenderError};
pub use fetch::{FetchRequest, Fetched, FetchedBody};
pub use filters::names as filter_names;
pub use pieces::{Piece, PieceKind, masked, pieces};
pub use template::{Included, Read, Rendered, Template};
pub use value::{Object, Text, Value};
