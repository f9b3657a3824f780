//! What a refusal says about the address.

use super::outcome::Phase;

/// What to conclude from a refused message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BounceClass {
    /// The address does not exist: nothing should be sent to it again.
    Hard,
    /// The relay or the receiver objects to us, the sender or the content. Says nothing about the
    /// address, and the next recipients will likely meet the same.
    Policy,
    /// Anything passing, or not clear enough to blame the address.
    Soft,
}

/// Classifies a refusal by its code, enhanced status code (RFC 3463) and phase; the text decides only
/// where these leave it open. A doubtful case is `Soft`: silencing a good address costs a customer.
pub fn bounce_class(code: u16, enhanced: Option<&str>, at: Phase, text: &str) -> BounceClass {
    use BounceClass::{Hard, Policy, Soft};
    if code < 500 || enhanced.is_some_and(|status| status.starts_with('4')) {
        return Soft;
    }
    let about_recipient = matches!(at, Phase::Recipient | Phase::Data | Phase::Message);
    if !about_recipient {
        return Policy;
    }
    let text = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let mut parts = enhanced.unwrap_or_default().split('.').skip(1);
    let detail = (parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
    match detail {
        ("1", "7" | "8") => Policy,
        // The local spelling of "address rejected" is used for senders, too.
        ("1", "0") if says(POLICY_WORDS) => Policy,
        ("1", "4" | "5" | "9") => Soft,
        ("1", _) => Hard,
        ("7", _) => Policy,
        // Exchange Online says this of an address its directory does not know.
        ("4", "1") if says(&["recipient address rejected"]) => Hard,
        // "Other" and protocol statuses carry no meaning; so the text must.
        ("0" | "5", _) if says(POLICY_WORDS) => Policy,
        ("0" | "5", _) if says(UNKNOWN_WORDS) => Hard,
        ("0", "0") if at == Phase::Recipient && matches!(code, 550 | 551) && !says(FULL_WORDS) => {
            Hard
        }
        _ => Soft,
    }
}

const POLICY_WORDS: &[&str] = &[
    "spam",
    "relay",
    "block",
    "blacklist",
    "denylist",
    "denied",
    "polic",
    "reputation",
    "rbl",
    "dnsbl",
    "spamhaus",
    "spf",
    "dkim",
    "dmarc",
    "authenticat",
    "sender",
    "not authorized",
    "unauthorized",
    "reverse dns",
    " ptr",
    " listed",
    " rate",
    "too many",
    "virus",
    "content",
];

const UNKNOWN_WORDS: &[&str] = &[
    "user unknown",
    "unknown user",
    "no such user",
    "no such recipient",
    "no such address",
    "no mailbox",
    "user not found",
    "unknown recipient",
    "recipient unknown",
    "unknown address",
    "invalid recipient",
    "invalid mailbox",
    "does not exist",
    "doesn't exist",
    "not exist",
    "mailbox not found",
    "mailbox unavailable",
    "recipient not found",
    "address unknown",
    "unrouteable address",
    "unknown local",
];

const FULL_WORDS: &[&str] =
    &["full", "quota", "space", "too large", "size", "disabled", "inactive"];

#[cfg(test)]
mod tests {
    use super::{
        BounceClass::{self, Hard, Policy, Soft},
        Phase::{self, Data, Greeting, Mail, Message, Recipient},
        bounce_class,
    };

    /// `reply` starts with the code, then the enhanced code if there is one.
    fn check(at: Phase, reply: &str, expected: BounceClass) {
        let code = reply[..3].parse().expect("a code first");
        let text = &reply[4..];
        let enhanced = text.split(' ').next().filter(|word| word.split('.').count() == 3);
        assert_eq!(bounce_class(code, enhanced, at, text), expected, "{reply}");
    }

    #[test]
    fn addresses_that_do_not_exist_are_hard() {
        for reply in [
            "550 5.1.1 The email account that you tried to reach does not exist.",
            "550 5.1.1 <x@y.example>: Recipient address rejected: User unknown in virtual mailbox table",
            "550 5.1.1 User unknown",
            "554 5.1.1 <x@y.example> recipient rejected",
            "550 5.1.2 Host unknown",
            "553 5.1.3 The recipient address is not a valid RFC-5321 address",
            "550 5.1.6 Recipient no longer on server",
            "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
            "556 5.1.10 Recipient address has null MX",
            "550 5.1.0 Address rejected",
            "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)",
            "550 5.5.0 Requested action not taken: mailbox unavailable",
            "550 5.0.0 <x@y.example>... User unknown",
            "554 5.0.0 unknown user account",
            "550 No such user here",
            "550 User unknown",
            "550 Requested action not taken: mailbox unavailable",
            "551 User not local",
            "550 Unrouteable address",
            "550 Empfaenger unbekannt",
            "553 sorry, no mailbox here by that name",
        ] {
            check(Recipient, reply, Hard);
        }
        check(Message, "550 5.1.1 User doesn't exist: x@y.example", Hard);
        check(Data, "550 5.1.1 unknown", Hard);
    }

    #[test]
    fn objections_to_us_are_policy() {
        for reply in [
            "550 5.7.1 Unable to relay",
            "554 5.7.1 <x@y.example>: Relay access denied",
            "550 5.7.1 Service unavailable; client host blocked using Spamhaus",
            "550 5.7.23 The message was rejected because of Sender Policy Framework violation",
            "550 5.7.26 This mail is unauthenticated, which poses a security risk",
            "550 5.7.509 Access denied, sending domain does not pass DMARC verification",
            "550 5.7.606 Access denied, banned sending IP",
            "550 5.7.133 sender not authenticated for this group",
            "553 5.1.8 Sender address rejected: Domain not found",
            "550 5.1.7 Bad sender's mailbox address syntax",
            "550 5.1.0 Sender address rejected",
            "550 5.0.0 Access denied",
            "550 relaying denied",
            "550 Blocked - see https://ipcheck.example/",
            "553 Sorry, your envelope sender is in my badmailfrom list",
        ] {
            check(Recipient, reply, Policy);
        }
        check(Message, "554 5.7.1 Message rejected as spam", Policy);
        check(Message, "554 Message rejected: spam content", Policy);
        check(
            Message,
            "552 5.7.0 This message was blocked because its content presents a risk",
            Policy,
        );
        check(Mail, "550 5.1.1 sender unknown", Policy);
        check(Mail, "530 5.7.0 Must issue a STARTTLS command first", Policy);
        check(Greeting, "554 no service for you", Policy);
    }

    #[test]
    fn the_rest_is_soft() {
        for reply in [
            "421 4.7.0 Our system has detected an unusual rate of mail",
            "450 4.2.1 The user is receiving mail at too high a rate",
            "450 4.7.1 Greylisting in action, come back later",
            "451 4.3.0 Temporary lookup failure",
            "451 Requested action aborted: local error in processing",
            "452 4.2.2 Mailbox full",
            "550 4.4.7 Message expired",
            "552 5.2.2 Mailbox full",
            "550 5.2.2 over quota",
            "550 mailbox is full, quota exceeded",
            "550 5.2.1 The email account that you tried to reach is disabled",
            "550 5.2.0 delivery failed",
            "550 5.3.0 other mail system status",
            "552 5.3.4 Message size exceeds fixed limit",
            "554 5.4.0 error: loop",
            "550 5.4.4 Host or domain name not found",
            "554 5.4.14 hop count exceeded",
            "550 5.1.4 recipient address is ambiguous",
            "552 Requested mail action aborted: exceeded storage allocation",
            "554 Transaction failed",
        ] {
            check(Recipient, reply, Soft);
        }
        check(Message, "554 5.6.0 conversion failed", Soft);
        check(Message, "550 no", Soft);
        check(Mail, "450 4.1.8 domain of sender not found just now", Soft);
    }
}
