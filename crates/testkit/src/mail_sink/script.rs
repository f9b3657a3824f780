//! What the sink does, by recipient and by step.

use std::{collections::HashMap, str::FromStr, time::Duration};

use parking_lot::Mutex;
use tidings_listeners::smtp::{Answer, Step};

/// A step of the dialog at which something may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Instead of the greeting.
    Banner,
    Hello,
    Mail,
    Recipient,
    /// Instead of the 354.
    Data,
    /// While the text is coming.
    Body,
    /// After the final dot: the message was taken, the answer is what goes wrong.
    Dot,
}

/// What is done with a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Accept,
    /// Refuse a recipient with 451 this many times, then accept it.
    Later(u32),
    /// Answer RCPT with this code and text.
    RefuseRecipient(u16, String),
    /// Take the text, then answer with this code and text.
    RefuseMessage(u16, String),
    Hang(At),
    Close(At),
    /// An answer that is not SMTP.
    Garbage(At),
    /// An answer line without an end.
    EndlessLine(At),
    /// The normal answer, a byte at a time with this pause.
    Slow(At, Duration),
}

/// Rules in order: the first whose pattern fits a recipient's local part decides; without one the
/// mail is accepted. A `*` in a pattern stands for any text.
#[derive(Clone, Debug, Default)]
pub struct Script {
    rules: Vec<(String, Action)>,
    connection: Option<Action>,
}

impl Script {
    pub fn accept_all() -> Self {
        Self::default()
    }

    /// Adds a rule for recipients whose local part fits `pattern`.
    #[must_use]
    pub fn to(mut self, pattern: &str, action: Action) -> Self {
        self.rules.push((pattern.to_owned(), action));
        self
    }

    /// Does this on every connection, whoever the recipient (banner, hello and mail steps too).
    #[must_use]
    pub fn always(mut self, action: Action) -> Self {
        self.connection = Some(action);
        self
    }

    pub(super) fn start(self) -> Running {
        Running { script: self, refused: Mutex::default() }
    }
}

/// A script with its counts.
pub(super) struct Running {
    script: Script,
    /// How often a recipient was put off.
    refused: Mutex<HashMap<String, u32>>,
}

impl Running {
    pub(super) fn answer(&self, step: &Step<'_>) -> Answer {
        let at = match step {
            Step::Connect { .. } => At::Banner,
            Step::Hello { .. } => At::Hello,
            Step::Mail { .. } => At::Mail,
            Step::Recipient { .. } => At::Recipient,
            Step::Data { .. } => At::Data,
            Step::Body { .. } => At::Body,
        };
        if let Some(answer) = self.script.connection.as_ref().and_then(|action| spoil(action, at)) {
            return answer;
        }
        let action = match step {
            Step::Recipient { recipient, .. } => self.rule(recipient),
            Step::Data { recipients } | Step::Body { recipients } => {
                recipients.iter().find_map(|recipient| self.rule(recipient))
            }
            _ => None,
        };
        match (action, step) {
            (Some(Action::RefuseRecipient(code, text)), Step::Recipient { .. }) => {
                Answer::reply(*code, text)
            }
            (Some(Action::Later(times)), Step::Recipient { recipient, .. }) => {
                self.put_off(recipient, *times)
            }
            (Some(action), _) => spoil(action, at).unwrap_or(Answer::Accept),
            (None, _) => Answer::Accept,
        }
    }

    pub(super) fn answer_message(&self, recipients: &[String]) -> Answer {
        let action = recipients.iter().find_map(|recipient| self.rule(recipient));
        for action in self.script.connection.iter().chain(action) {
            if let Action::RefuseMessage(code, text) = action {
                return Answer::reply(*code, text);
            }
            if let Some(answer) = spoil(action, At::Dot) {
                return answer;
            }
        }
        Answer::Accept
    }

    fn rule(&self, recipient: &str) -> Option<&Action> {
        let local = recipient.rsplit_once('@').map_or(recipient, |(local, _)| local);
        self.script.rules.iter().find(|(pattern, _)| fits(pattern, local)).map(|(_, action)| action)
    }

    fn put_off(&self, recipient: &str, times: u32) -> Answer {
        let mut refused = self.refused.lock();
        let count = refused.entry(recipient.to_owned()).or_default();
        if *count >= times {
            return Answer::Accept;
        }
        *count += 1;
        Answer::reply(451, format!("4.2.0 not now, {count} of {times}"))
    }
}

/// The answer of an action that goes wrong at this step.
fn spoil(action: &Action, now: At) -> Option<Answer> {
    match action {
        Action::Hang(at) if *at == now => Some(Answer::Hang),
        Action::Close(at) if *at == now => Some(Answer::Close),
        Action::Garbage(at) if *at == now => {
            Some(Answer::Raw(b"<html>\xff\0 this is no mail server</html>\r\n".to_vec()))
        }
        Action::EndlessLine(at) if *at == now => Some(Answer::Raw(b"250-".repeat(100_000))),
        Action::Slow(at, pause) if *at == now => Some(Answer::Trickle(*pause)),
        _ => None,
    }
}

/// Whether `text` fits a pattern in which `*` stands for any text, case ignored.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(found) = left.find(part) else { return false };
        left = &left[found + part.len()..];
    }
    true
}

/// Reads an action as the command line writes it: `accept`, `later:2`, `rcpt:550 5.1.1 no such user`,
/// `message:554 5.7.1 spam`, `hang:dot`, `close:body`, `garbage:mail`, `endless:rcpt`, `slow:banner:100`
/// (milliseconds a byte).
impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let reply = || -> Result<(u16, String), String> {
            let (code, words) = rest.split_once(' ').unwrap_or((rest, "refused"));
            Ok((code.parse().map_err(|_| format!("not a code: {code}"))?, words.to_owned()))
        };
        let number = |text: &str| text.parse().map_err(|_| format!("not a number: {text}"));
        Ok(match name {
            "accept" => Self::Accept,
            "later" => Self::Later(number(rest)?),
            "rcpt" => reply().map(|(code, words)| Self::RefuseRecipient(code, words))?,
            "message" => reply().map(|(code, words)| Self::RefuseMessage(code, words))?,
            "hang" => Self::Hang(rest.parse()?),
            "close" => Self::Close(rest.parse()?),
            "garbage" => Self::Garbage(rest.parse()?),
            "endless" => Self::EndlessLine(rest.parse()?),
            "slow" => {
                let (at, pause) = rest.split_once(':').unwrap_or((rest, "100"));
                Self::Slow(at.parse()?, Duration::from_millis(number(pause)?.into()))
            }
            _ => return Err(format!("unknown action: {name}")),
        })
    }
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "banner" => Self::Banner,
            "hello" => Self::Hello,
            "mail" => Self::Mail,
            "rcpt" => Self::Recipient,
            "data" => Self::Data,
            "body" => Self::Body,
            "dot" => Self::Dot,
            _ => return Err(format!("unknown step: {text}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_local_parts() {
        for (pattern, text, expected) in [
            ("anna", "Anna", true),
            ("anna", "annabel", false),
            ("*", "", true),
            ("bounce*", "bounce-7", true),
            ("*-7", "bounce-7", true),
            ("b*e*7", "bounce-7", true),
            ("b*x*7", "bounce-7", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn actions_are_read() {
        for (text, expected) in [
            ("accept", Ok(Action::Accept)),
            ("later:2", Ok(Action::Later(2))),
            ("rcpt:550 5.1.1 no", Ok(Action::RefuseRecipient(550, "5.1.1 no".to_owned()))),
            ("hang:dot", Ok(Action::Hang(At::Dot))),
            ("slow:banner:5", Ok(Action::Slow(At::Banner, Duration::from_millis(5)))),
            ("hang:never", Err("unknown step: never".to_owned())),
            ("later:x", Err("not a number: x".to_owned())),
            ("explode", Err("unknown action: explode".to_owned())),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }
}
