//! Ids: UUIDv7 values made by the hub, one type per noun so that they cannot be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id: its first 48 bits are the time, the tail is random.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// One brand's world.
    WorkspaceId;
    /// A person we know.
    CustomerId;
    /// Something that happened to or by a customer.
    EventId;
    /// A list kept by hand or by API.
    GroupId;
    /// A rule whose membership is kept live.
    SegmentId;
    /// The text a message is rendered from.
    TemplateId;
    /// A named snippet that templates include.
    BlockId;
    /// A picture of the library.
    ImageId;
    /// A planned communication.
    CampaignId;
    /// Something that operators must know.
    AlertId;
    /// What a channel is used for.
    TopicId;
    /// A page where people sign up.
    FormId;
    /// A sign-up that waits for its confirmation.
    SignUpId;
    /// One attempt to hand one message to one customer.
    DeliveryId;
    /// One run over one file.
    ImportId;
    /// A piece of background work.
    JobId;
    /// A running process of the hub.
    NodeId;
    /// Someone who signs in to the console.
    UserId;
    /// An API token.
    TokenId;
    /// A server that mail is handed to.
    RelayId;
}
