//! The parts of a session that make it trusted: STARTTLS and AUTH.

use std::{future::Future, io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::time::timeout;

use super::{
    Answer, Auth, Received, Step, Tls,
    session::{Outcome, Session},
};

impl<S, H, F> Session<S, H>
where
    S: Fn(&Step<'_>) -> Answer,
    H: Fn(Received) -> F,
    F: Future<Output = Answer>,
{
    pub(super) async fn secure(&mut self, config: Arc<rustls::ServerConfig>) -> io::Result<()> {
        let limit = self.server.settings.limits.command;
        timeout(limit, self.wire.secure(config)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    pub(super) async fn start_tls(&mut self) -> io::Result<Outcome> {
        let Tls::StartTls(config) = &self.server.settings.tls else {
            return self.refuse("502 5.5.1 STARTTLS is not offered\r\n");
        };
        if self.wire.is_secure() {
            return self.refuse("503 5.5.1 already encrypted\r\n");
        }
        let config = Arc::clone(config);
        if !self.wire.input.is_empty() {
            // Commands sent ahead in the clear would otherwise be obeyed as if they were encrypted.
            self.say("554 5.5.0 commands behind STARTTLS\r\n");
            return Ok(Outcome::Over);
        }
        self.say("220 2.0.0 go ahead\r\n");
        self.wire.flush().await?;
        self.secure(config).await?;
        self.hello = None;
        self.user = None;
        self.reset();
        Ok(Outcome::Accepted)
    }

    /// The sign-in that may be offered now.
    pub(super) fn offered_auth(&self) -> Option<&Auth> {
        let settings = &self.server.settings;
        let open = matches!(settings.tls, Tls::Off) || self.wire.is_secure();
        settings.auth.as_ref().filter(|_| open)
    }

    pub(super) async fn auth(
        &mut self,
        mechanism: &str,
        initial: Option<&str>,
    ) -> io::Result<Outcome> {
        let Some(expected) = self.offered_auth().cloned() else {
            return self.refuse("502 5.5.1 AUTH is not offered\r\n");
        };
        if self.hello.is_none() || self.user.is_some() || self.return_path.is_some() {
            return self.refuse("503 5.5.1 bad sequence of commands\r\n");
        }
        let given = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => {
                let Some(response) = self.response(initial, "").await? else {
                    return Ok(Outcome::Over);
                };
                plain(&response)
            }
            "LOGIN" => {
                let Some(user) = self.response(initial, "Username:").await? else {
                    return Ok(Outcome::Over);
                };
                let Some(password) = self.response(None, "Password:").await? else {
                    return Ok(Outcome::Over);
                };
                String::from_utf8(user).ok().zip(String::from_utf8(password).ok())
            }
            _ => return self.refuse("504 5.5.4 mechanism is not offered\r\n"),
        };
        match given {
            Some((user, password)) if user == expected.user && password == expected.password => {
                self.user = Some(user);
                self.say("235 2.7.0 welcome\r\n");
                Ok(Outcome::Accepted)
            }
            _ => self.refuse("535 5.7.8 wrong name or password\r\n"),
        }
    }

    /// One answer of the client within AUTH, decoded (empty if it is not base64, which no sign-in
    /// accepts); `None` when the session should end.
    async fn response(
        &mut self,
        initial: Option<&str>,
        challenge: &str,
    ) -> io::Result<Option<Vec<u8>>> {
        if let Some(initial) = initial {
            return Ok(Some(STANDARD.decode(initial).unwrap_or_default()));
        }
        self.say(&format!("334 {}\r\n", STANDARD.encode(challenge)));
        let line = self.next_line().await?;
        Ok(line.map(|line| STANDARD.decode(&line).unwrap_or_default()))
    }
}

/// Name and password of an `AUTH PLAIN` response: `[authzid] NUL name NUL password`.
fn plain(response: &[u8]) -> Option<(String, String)> {
    let mut parts = std::str::from_utf8(response).ok()?.splitn(3, '\0').skip(1);
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}
