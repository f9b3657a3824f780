//! The fields of each kind: what stands in its file beside id, number and name.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tidings_domain::Timestamp;
use tidings_domain::campaign::{MessageClass, Share};
use tidings_domain::consent::Channel;
use tidings_domain::value::Kind as ValueKind;
use uuid::Uuid;

use crate::forms::{FormField, FormSender};
use crate::topics::TopicTexts;

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The kind of an attribute or field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeBody {
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl AttributeBody {
    pub fn new(kind: &ValueKind) -> AttributeBody {
        AttributeBody {
            kind: kind.name().to_owned(),
            scale: kind.scale(),
            currency: kind.currency().map(str::to_owned),
        }
    }

    pub fn kind(&self) -> Result<ValueKind, String> {
        let kind = ValueKind::from_parts(&self.kind, self.scale, self.currency.as_deref())?;
        if self.scale.is_some() && kind.scale().is_none() {
            return Err(format!("a {} has no scale", self.kind));
        }
        if self.currency.is_some() && kind.currency().is_none() {
            return Err(format!("a {} has no currency", self.kind));
        }
        Ok(kind)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i32>,
    pub name: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableBody {
    /// `customer` or `none`.
    pub owner: String,
    #[serde(default)]
    pub fields: Vec<FieldBody>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Json>,
    /// A rule with values that TOML has no form for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_json: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageBody {
    /// The part of the public address that nobody can guess; mails that went out show it. Without
    /// it, it follows from the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantBody {
    pub language: String,
    pub subject: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateBody {
    pub subject: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantBody>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicBody {
    pub channel: Channel,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "is_false")]
    pub archived: bool,
    pub texts: TopicTexts,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormBody {
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub intro: String,
    pub language: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FormField>,
    pub topics: Vec<String>,
    pub sender: FormSender,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_url: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub archived: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderBody {
    pub name: String,
    pub address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterBody {
    pub name: String,
    pub value: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignBody {
    /// By name; without it, every customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// By name.
    pub template: String,
    pub class: MessageClass,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_at: Option<Timestamp>,
    /// Whether it is to be launched, which is done only where `--launch` is given.
    #[serde(default, skip_serializing_if = "is_false")]
    pub launch: bool,
    pub sender: SenderBody,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_parameters: Vec<ParameterBody>,
    /// What is planned beside the message; a test's variants name their templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Json>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayBody {
    /// Without name and password. The password is a secret and given in the settings.
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<i32>,
    pub open_max: i32,
    pub weight: i32,
    pub enabled: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderDomainBody {
    /// By name; without it, its mail goes by the relays' shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_url: Option<String>,
    /// The selectors of its keys; the keys are secrets, and made where they sign.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dkim: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitBody {
    pub domain: String,
    pub open_max: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsBody {
    #[serde(default)]
    pub limits: Vec<LimitBody>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BouncesBody {
    /// Without it, no campaign pauses by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    pub from_mails: i64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertsBody {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendingBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_holdout: Option<Share>,
    pub bounces: BouncesBody,
    #[serde(default)]
    pub alerts: AlertsBody,
}

/// A body as fields. The shapes above have nothing that JSON could not hold.
pub fn fields(body: &impl Serialize) -> Map<String, Json> {
    match serde_json::to_value(body) {
        Ok(Json::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// What is wrong with fields: which one, and why.
pub struct Wrong {
    pub path: String,
    pub message: String,
}

/// Fields as a body; a field that is unknown, missing or of another type is refused.
pub fn body<T: for<'de> Deserialize<'de>>(fields: &Map<String, Json>) -> Result<T, Wrong> {
    serde_path_to_error::deserialize(Json::Object(fields.clone())).map_err(|error| {
        let mut path = error.path().to_string();
        let message = error.into_inner().to_string();
        if path == "." {
            path.clear();
        }
        // An unknown field is told by its name alone.
        let unknown =
            message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        if let Some(name) = unknown.filter(|name| !path.ends_with(*name)) {
            path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        }
        Wrong { path, message }
    })
}
