//! `/v1/definitions`: a workspace as text, the difference that a folder would make, and the change.

use axum::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;
use tidings_engine::Error;
use tidings_engine::definitions::{self, Agreed, Fingerprints, Folder};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Administer, Call};
use crate::errors::{Problem as Refused, Result};
use crate::input::Input;
use crate::templates::{DiffLine, line};

/// One file of the folder: a text, or a picture's bytes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinitionFile {
    #[schema(example = "groups/staff.toml")]
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "name = \"staff\"\n")]
    pub text: Option<String>,
    /// What is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DefinitionFiles {
    /// In the order of their paths.
    pub files: Vec<DefinitionFile>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinitionPlanInput {
    pub files: Vec<DefinitionFile>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinitionApplyInput {
    pub files: Vec<DefinitionFile>,
    /// The workspace's fingerprint in the plan that was agreed to; another one is a conflict.
    pub fingerprint: String,
    /// Drop attributes, tables and groups with what they hold, and kinds that hold less.
    #[serde(default)]
    pub allow_data_loss: bool,
    /// Launch the campaigns whose files say so.
    #[serde(default)]
    pub launch: bool,
}

/// Something that stands in the way, or is worth knowing.
#[derive(Debug, Serialize, ToSchema)]
pub struct DefinitionNotice {
    pub file: String,
    /// Counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    pub message: String,
}

/// A field or a text that differs; `lines` is there for texts.
#[derive(Debug, Serialize, ToSchema)]
pub struct DefinitionDifference {
    #[schema(example = "rule.value")]
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<Vec<DiffLine>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DefinitionChange {
    /// `create`, `change`, `rename` or `drop`.
    #[schema(example = "rename")]
    pub action: &'static str,
    #[schema(example = "segment")]
    pub kind: &'static str,
    pub id: Uuid,
    pub name: String,
    /// What it is called now, where that changes.
    pub old_name: Option<String>,
    /// `null` where it is dropped.
    pub file: Option<String>,
    pub differences: Vec<DefinitionDifference>,
    /// What of customers is lost with it.
    pub loses: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DefinitionLaunch {
    pub id: Uuid,
    pub name: String,
    pub file: String,
    /// `null` means at once.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DefinitionPlan {
    /// What identifies the definitions that the plan was made against.
    pub fingerprint: String,
    pub changes: Vec<DefinitionChange>,
    pub launches: Vec<DefinitionLaunch>,
    /// While there are any, nothing is applied.
    pub problems: Vec<DefinitionNotice>,
    pub notes: Vec<DefinitionNotice>,
    /// Secrets that files name and nobody has given.
    pub missing_secrets: Vec<String>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct DefinitionsApplied {
    /// What it went by.
    pub plan: DefinitionPlan,
    /// The campaigns that were launched, by their ids.
    pub launched: Vec<Uuid>,
}

fn folder(files: Vec<DefinitionFile>) -> Result<Folder> {
    let mut folder = Folder::new();
    for (at, file) in files.into_iter().enumerate() {
        let wrong = |field: &str, text: &str| {
            Refused::field(format!("files[{at}].{field}"), "invalid", text)
        };
        definitions::checked_path(&file.path).map_err(|text| wrong("path", text))?;
        let bytes = match (file.text, file.base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => {
                STANDARD.decode(base64).map_err(|_| wrong("base64", "expected base64"))?
            }
            _ => return Err(wrong("text", "expected text or base64, and one of them")),
        };
        if folder.insert(file.path, bytes).is_some() {
            return Err(wrong("path", "another file has this path"));
        }
    }
    Ok(folder)
}

fn file((path, bytes): (String, Vec<u8>)) -> DefinitionFile {
    match String::from_utf8(bytes) {
        Ok(text) => DefinitionFile { path, text: Some(text), base64: None },
        Err(error) => {
            DefinitionFile { path, text: None, base64: Some(STANDARD.encode(error.into_bytes())) }
        }
    }
}

fn notice(problem: definitions::Problem) -> DefinitionNotice {
    DefinitionNotice { file: problem.file, line: problem.line, message: problem.message }
}

fn difference(one: definitions::Difference) -> DefinitionDifference {
    match one {
        definitions::Difference::Field { path, old, new } => {
            DefinitionDifference { path, old, new, lines: None }
        }
        definitions::Difference::Text { path, lines } => DefinitionDifference {
            path,
            old: None,
            new: None,
            lines: Some(lines.into_iter().map(line).collect()),
        },
    }
}

fn change(one: definitions::Change) -> DefinitionChange {
    DefinitionChange {
        action: one.action.name(),
        kind: one.kind.name(),
        id: one.id,
        name: one.name,
        old_name: one.old_name,
        file: Some(one.file).filter(|file| !file.is_empty()),
        differences: one.differences.into_iter().map(difference).collect(),
        loses: one.loses,
    }
}

fn plan(made: definitions::Plan) -> DefinitionPlan {
    let launch = |one: definitions::Launch| DefinitionLaunch {
        id: one.id.0,
        name: one.name,
        file: one.file,
        at: one.at,
    };
    DefinitionPlan {
        fingerprint: made.fingerprint,
        changes: made.changes.into_iter().map(change).collect(),
        launches: made.launches.into_iter().map(launch).collect(),
        problems: made.problems.into_iter().map(notice).collect(),
        notes: made.notes.into_iter().map(notice).collect(),
        missing_secrets: made.missing_secrets,
    }
}

/// Everything that users have defined, as the files of a folder.
#[utoipa::path(get, path = "/v1/definitions", tag = "Definitions",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = DefinitionFiles)))]
pub async fn export(call: Call<Administer>) -> Result<Json<DefinitionFiles>> {
    let folder = definitions::export(&call.ctx).await?;
    Ok(Json(DefinitionFiles { files: folder.into_iter().map(file).collect() }))
}

/// What the files of a folder would change. Whatever they leave out would be dropped.
#[utoipa::path(post, path = "/v1/definitions/plan", tag = "Definitions", request_body = DefinitionPlanInput,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = DefinitionPlan)))]
pub async fn make_plan(
    call: Call<Administer>,
    Input(body): Input<DefinitionPlanInput>,
) -> Result<Json<DefinitionPlan>> {
    let made = definitions::plan(&call.ctx, &folder(body.files)?).await?;
    Ok(Json(plan(made)))
}

/// Bring the workspace to what the files of a folder say, in one transaction.
#[utoipa::path(post, path = "/v1/definitions/apply", tag = "Definitions", request_body = DefinitionApplyInput,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = DefinitionsApplied)))]
pub async fn apply(
    call: Call<Administer>,
    Input(body): Input<DefinitionApplyInput>,
) -> Result<Json<DefinitionsApplied>> {
    let files = folder(body.files)?;
    // The files are those of this very call, so the workspace's part is all there is to compare.
    let planned = Fingerprints { workspace: body.fingerprint, files: definitions::digest(&files) };
    let agreed =
        Agreed { plan: Some(planned), data_loss: body.allow_data_loss, launch: body.launch };
    let done = definitions::apply(&call.ctx, &files, &agreed).await.map_err(shown)?;
    let launched = done.launched.iter().map(|one| one.id.0).collect();
    Ok(Json(DefinitionsApplied { plan: plan(done.plan), launched }))
}

/// Faults are of files, which their texts name.
fn shown(error: Error) -> Error {
    match error {
        Error::Invalid(mut faults) => {
            for fault in &mut faults {
                fault.path = "files".to_owned();
            }
            Error::Invalid(faults)
        }
        other => other,
    }
}
