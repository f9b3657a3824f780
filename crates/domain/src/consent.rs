//! Consent and suppression: who may be messaged.

use serde::{Deserialize, Serialize};

/// How a message reaches a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Sms,
}

impl Channel {
    pub fn name(self) -> &'static str {
        match self {
            Channel::Email => "email",
            Channel::Sms => "sms",
        }
    }

    pub fn number(self) -> i16 {
        match self {
            Channel::Email => 1,
            Channel::Sms => 2,
        }
    }

    pub fn from_number(number: i16) -> Channel {
        if number == 2 { Channel::Sms } else { Channel::Email }
    }

    pub fn parse(text: &str) -> Option<Channel> {
        match text {
            "email" => Some(Channel::Email),
            "sms" => Some(Channel::Sms),
            _ => None,
        }
    }
}

/// What a customer said about a channel. No row means nothing was said, which is no consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentState {
    Granted,
    Withdrawn,
}

impl ConsentState {
    pub fn name(self) -> &'static str {
        match self {
            ConsentState::Granted => "granted",
            ConsentState::Withdrawn => "withdrawn",
        }
    }

    pub fn parse(text: &str) -> Option<ConsentState> {
        match text {
            "granted" => Some(ConsentState::Granted),
            "withdrawn" => Some(ConsentState::Withdrawn),
            _ => None,
        }
    }
}

/// Why an address is never written to again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionReason {
    Manual,
    HardBounce,
    Complaint,
}

impl SuppressionReason {
    pub fn name(self) -> &'static str {
        match self {
            SuppressionReason::Manual => "manual",
            SuppressionReason::HardBounce => "hard_bounce",
            SuppressionReason::Complaint => "complaint",
        }
    }

    pub fn parse(text: &str) -> Option<SuppressionReason> {
        match text {
            "manual" => Some(SuppressionReason::Manual),
            "hard_bounce" => Some(SuppressionReason::HardBounce),
            "complaint" => Some(SuppressionReason::Complaint),
            _ => None,
        }
    }
}

/// How a consent reached the hub: the *where* of its proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    #[default]
    Api,
    Import,
    Console,
    /// A sign-up form that the address's owner confirmed.
    Form,
    PreferencePage,
    UnsubscribeLink,
    /// From before proofs were kept.
    Earlier,
}

impl Via {
    pub const ALL: [Via; 7] = [
        Via::Api,
        Via::Import,
        Via::Console,
        Via::Form,
        Via::PreferencePage,
        Via::UnsubscribeLink,
        Via::Earlier,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Via::Api => "api",
            Via::Import => "import",
            Via::Console => "console",
            Via::Form => "form",
            Via::PreferencePage => "preference_page",
            Via::UnsubscribeLink => "unsubscribe_link",
            Via::Earlier => "earlier",
        }
    }

    pub fn parse(text: &str) -> Option<Via> {
        Via::ALL.into_iter().find(|via| via.name() == text)
    }

    /// Whether the customer did it in person. Only that lifts a withdrawal of a whole channel by
    /// granting a topic.
    pub fn is_own_act(self) -> bool {
        matches!(self, Via::Form | Via::PreferencePage | Via::UnsubscribeLink)
    }
}

/// What shows that a customer said so, beside when and in which words of the caller's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub via: Via,
    /// Which version of the topic's text the customer was shown.
    pub text_version: Option<i32>,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
}

impl Proof {
    pub fn by(via: Via) -> Proof {
        Proof { via, ..Proof::default() }
    }
}

/// What a customer said about a channel as a whole, and about one topic of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub channel: Option<ConsentState>,
    /// Always `None` where a message has no topic.
    pub topic: Option<ConsentState>,
}

impl Said {
    /// Whether a message may go. A *no* to the channel beats everything, a *no* to the topic beats
    /// a *yes* to the channel, and either *yes* is enough where nobody said *no*. A message without
    /// a topic needs a *yes* to the channel.
    pub fn allows(self) -> bool {
        let said = [self.channel, self.topic];
        !said.contains(&Some(ConsentState::Withdrawn))
            && said.contains(&Some(ConsentState::Granted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_beats_a_yes_and_nothing_said_is_no() {
        let (yes, no) = (Some(ConsentState::Granted), Some(ConsentState::Withdrawn));
        for (channel, topic, expected) in [
            (None, None, false),
            (yes, None, true),
            (no, None, false),
            (None, yes, true),
            (None, no, false),
            (yes, yes, true),
            (yes, no, false),
            (no, yes, false),
            (no, no, false),
        ] {
            assert_eq!(Said { channel, topic }.allows(), expected, "{channel:?} {topic:?}");
        }
    }

    #[test]
    fn ways_are_read_back() {
        for via in Via::ALL {
            assert_eq!(Via::parse(via.name()), Some(via));
        }
        assert_eq!(Via::parse("telepathy"), None);
    }
}
