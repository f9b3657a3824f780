//! Random definitions of every kind, with names and texts that files do not like.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use serde_json::{Value as Json, json};
use tidings_domain::campaign::{MessageClass, Metric, Otherwise, Plan, Share, Test, Variant};
use tidings_domain::consent::Channel;
use tidings_domain::retention::Retention;
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_engine::forms::{self, Definition, FormField, FormSender};
use tidings_engine::pages::{self, PageSettings};
use tidings_engine::relays::{self, RelayInput};
use tidings_engine::sending_rules::{self, AlertMail, BounceLimit, SendingRules};
use tidings_engine::topics::{self, TopicChange, TopicText};
use tidings_engine::{
    Ctx, blocks, campaigns, groups, images, retention, segments, senders, templates,
};
use tidings_store::campaigns::{CampaignDraft, Sender};
use tidings_store::templates::{Format, TemplateDraft, Variant as Language};

const NAMES: &[&str] = &[
    "plain",
    "Plain",
    "PLAIN",
    "a/b",
    "a\\b",
    "../..",
    ".",
    "..",
    ".hidden",
    "con",
    "NUL.txt",
    "Größe & Maße",
    "日本語",
    "🙂 smile",
    "e\u{301}",
    "é",
    "quote\"s",
    "it's",
    "tab here",
    "[x]",
    "x = 1",
    "# no comment",
    "ends.toml",
    "a.b.c",
    "\u{202e}rtl",
    "zero\u{200b}width",
    "%41",
    "~",
    "template",
    "-dash-",
    "000",
    "1e5",
    "true",
    "null",
];

const TEXTS: &[&str] = &[
    "",
    "one line",
    "two\nlines",
    "windows\r\nlines\r\n",
    "old mac\rlines",
    "  blanks  \n\n\n",
    "\u{feff}mark",
    "\"\"\" ''' \\ \\n",
    "日本 🙂 e\u{301} \u{202e}",
    "tab\tand \u{1}control\u{7f}",
    "{{ customer.id }} & <b>",
    "ends with a quote\"",
];

pub struct World {
    rng: StdRng,
    used: std::collections::HashSet<String>,
}

impl World {
    pub fn new(seed: u64) -> World {
        World { rng: StdRng::seed_from_u64(seed), used: Default::default() }
    }

    fn up_to(&mut self, most: usize) -> usize {
        self.rng.random_range(0..=most)
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.rng.random_range(0..all.len())]
    }

    fn name(&mut self) -> String {
        loop {
            let mut name = (*self.pick(NAMES)).to_owned();
            match self.up_to(5) {
                0 => name = format!("{name} {}", self.up_to(99)),
                1 => name = format!("{name}{}", "x".repeat(100 - name.chars().count())),
                _ => {}
            }
            if name.trim() == name && self.used.insert(name.clone()) {
                return name;
            }
        }
    }

    fn text(&mut self) -> String {
        let (a, b) = (*self.pick(TEXTS), *self.pick(TEXTS));
        format!("{a}{b}")
    }

    fn line(&mut self) -> String {
        let text = self.text();
        let line: String = text.chars().filter(|c| !c.is_control()).collect();
        format!("x{line}")
    }

    fn kind(&mut self) -> Kind {
        let kinds = [
            Kind::Text,
            Kind::Integer,
            Kind::Decimal { scale: self.rng.random_range(0..=9) },
            Kind::Boolean,
            Kind::Date,
            Kind::Timestamp,
            Kind::List,
            Kind::Email,
            Kind::Phone,
            Kind::Country,
            Kind::Language,
            Kind::Money { currency: "JPY".to_owned(), scale: self.rng.random_range(0..=4) },
        ];
        self.pick(&kinds).clone()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes =
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x02\0\0\0\x03\x08\x02\0\0\0".to_vec();
        let mut rest = vec![0; self.up_to(300)];
        self.rng.fill_bytes(&mut rest);
        bytes.extend(rest);
        bytes
    }

    /// Fills an empty workspace; gives how many things it has.
    pub async fn fill(&mut self, ctx: &Ctx) {
        self.schema(ctx).await;
        self.audiences(ctx).await;
        let templates = self.content(ctx).await;
        let topics = self.consent(ctx).await;
        self.campaigns(ctx, &templates, &topics).await;
        self.mail(ctx).await;
    }

    async fn mail(&mut self, ctx: &Ctx) {
        let mut made = Vec::new();
        for _ in 0..self.up_to(2) {
            let signs_in = self.up_to(1) == 0;
            let input = RelayInput {
                name: self.name(),
                url: "smtp://mail.shop.example:2525".to_owned(),
                username: signs_in.then(|| self.line()),
                password: signs_in.then(|| "a secret".to_owned()),
                per_second: (self.up_to(1) == 0).then_some(7),
                open_max: 3,
                weight: 0,
                enabled: self.up_to(1) == 0,
            };
            made.push(relays::create(ctx, input).await.expect("a relay").id);
        }
        for domain in ["shop.example", "bücher.example"].into_iter().take(self.up_to(2)) {
            let relay = made.first().copied();
            let tracking = Some("https://news.shop.example".to_owned());
            senders::put(ctx, domain, relay, tracking).await.expect("a sender's domain");
        }
        if self.up_to(1) == 0 {
            let rules = SendingRules {
                global_holdout: Share::of_percent(0.25),
                bounces: BounceLimit { share: None, from_mails: 50 },
                alerts: AlertMail {
                    to: vec!["ops@shop.example".to_owned()],
                    from: Some("hub@shop.example".to_owned()),
                },
            };
            sending_rules::put(ctx, rules).await.expect("rules of sending");
        }
        if self.up_to(1) == 0 {
            let periods = Retention {
                events_days: Some(400),
                inactive_customers_days: (self.up_to(1) == 0).then_some(365),
                ..Retention::default()
            };
            retention::set(ctx, periods).await.expect("periods");
        }
        if self.up_to(1) == 0 {
            let limit =
                |domain: &str| senders::RecipientLimit { domain: domain.into(), open_max: 2 };
            let limits = vec![limit("*"), limit("mail.example")];
            senders::put_limits(ctx, limits).await.expect("limits");
        }
    }

    async fn schema(&mut self, ctx: &Ctx) {
        let workspace = &ctx.workspace;
        for _ in 0..self.up_to(6) {
            let (name, kind) = (self.name(), self.kind());
            workspace.add_attribute(&name, kind, ctx.now()).await.expect("an attribute");
            if self.up_to(4) == 0 {
                workspace.drop_attribute(&name).await.expect("drop it");
            }
        }
        for _ in 0..self.up_to(2) {
            let mut fields = Vec::new();
            for _ in 0..self.up_to(4) {
                fields.push((self.name(), self.kind()));
            }
            let owner = *self.pick(&[Owner::Customer, Owner::Nobody]);
            let name = self.name();
            workspace.add_table(&name, owner, fields, ctx.now()).await.expect("a table");
        }
    }

    async fn audiences(&mut self, ctx: &Ctx) {
        for _ in 0..self.up_to(3) {
            groups::create(ctx, &self.name()).await.expect("a group");
        }
        for _ in 0..self.up_to(4) {
            let (name, rule) = (self.name(), self.rule(ctx).await);
            let id = segments::create(ctx, &name, &rule).await.expect("a segment");
            if self.up_to(5) == 0 {
                segments::drop(ctx, id).await.expect("drop it");
            }
        }
    }

    async fn rule(&mut self, ctx: &Ctx) -> Json {
        let schema = ctx.workspace.fresh_schema().await.expect("the schema");
        let number = [0.1, 1.0, 1e300, -7.0][self.up_to(3)];
        let mut parts = vec![
            json!({"attribute": "email", "op": "eq", "value": "o'hara+x@example.com"}),
            json!({"tag": self.name()}),
            json!({"event": self.name(), "within": "30d", "count": {"gte": 1}}),
            json!({"event": "order", "where": [
                {"property": "a b é", "op": "eq", "value": self.text()},
                {"property": "n", "op": "eq", "value": number},
                {"property": "big", "op": "eq", "value": u64::MAX},
            ]}),
            json!({"all": []}),
        ];
        for attribute in &schema.attributes {
            parts.push(json!({"attribute": attribute.name, "op": "exists"}));
        }
        for group in groups::page(ctx, None, 10).await.expect("groups").items {
            parts.push(json!({"group": group.name}));
        }
        for segment in segments::list(ctx).await.expect("segments") {
            parts.push(json!({"not": {"segment": segment.name}}));
        }
        let mut chosen = Vec::new();
        for _ in 0..=self.up_to(3) {
            chosen.push(self.pick(&parts).clone());
        }
        match self.up_to(2) {
            0 => json!({"any": chosen}),
            1 => json!({"all": [{"any": chosen}, {"not": parts[0]}]}),
            _ => chosen.remove(0),
        }
    }

    async fn content(&mut self, ctx: &Ctx) -> Vec<tidings_domain::TemplateId> {
        let mut includes = String::new();
        for at in 0..self.up_to(3) {
            let name = [format!("block {at}"), format!("a/b-{at}"), format!("ß{at}.x")][at].clone();
            let body = format!("{}{includes}", self.text());
            blocks::create(ctx, &name, &body).await.expect("a block");
            includes = format!("{{% include '{name}' %}}");
        }
        for _ in 0..self.up_to(2) {
            let (name, bytes) = (self.line(), self.bytes());
            images::create(ctx, name.chars().take(50).collect::<String>().trim(), bytes)
                .await
                .expect("a picture");
        }
        let mut made = Vec::new();
        for _ in 0..self.up_to(3) {
            let format = *self.pick(&[Format::Html, Format::Mjml]);
            let mut variants = Vec::new();
            for language in ["pt-BR", "de", "zh"].into_iter().take(self.up_to(3)) {
                variants.push(Language {
                    language: language.to_owned(),
                    subject: self.line(),
                    html: self.body(format, &includes),
                    text: self.text(),
                });
            }
            let draft = TemplateDraft {
                name: self.name(),
                subject: self.line(),
                html: self.body(format, &includes),
                text: self.text(),
                format,
                variants,
            };
            made.push(templates::create(ctx, draft).await.expect("a template"));
        }
        made
    }

    fn body(&mut self, format: Format, includes: &str) -> String {
        match format {
            Format::Html => format!("{}<p>{includes}</p>", self.text()),
            Format::Mjml => format!(
                "<mjml><mj-body><mj-section><mj-column><mj-text>\n hi {}</mj-text></mj-column>\
                 </mj-section></mj-body></mjml>\r\n",
                self.up_to(9)
            ),
        }
    }

    async fn consent(&mut self, ctx: &Ctx) -> Vec<String> {
        let mut offered = Vec::new();
        for at in 0..self.up_to(4) {
            let channel = *self.pick(&[Channel::Email, Channel::Sms]);
            let mut texts = BTreeMap::new();
            for language in ["en", "pt-br"].into_iter().take(1 + self.up_to(1)) {
                let (title, text) = (self.line(), self.text().replace('\0', ""));
                texts.insert(language.to_owned(), TopicText { title, text });
            }
            let (name, description) = (self.name(), self.text());
            let made = topics::create(ctx, channel, &name, &description, &texts).await;
            let id = made.expect("a topic").id;
            if at == 3 {
                let change = TopicChange { archived: Some(true), ..TopicChange::default() };
                topics::change(ctx, id, change).await.expect("archive it");
            } else if channel == Channel::Email {
                offered.push(name);
            }
        }
        for _ in 0..self.up_to(2) {
            if offered.is_empty() {
                break;
            }
            let definition = Definition {
                title: self.line(),
                intro: self.text(),
                language: "nl".to_owned(),
                fields: vec![FormField {
                    to: "phone".to_owned(),
                    label: self.line(),
                    required: self.up_to(1) == 0,
                }],
                topics: offered.clone(),
                sender: FormSender { name: self.line(), address: "a@shop.example".to_owned() },
                redirect_url: Some("https://shop.example/?a=1#b".to_owned()),
            };
            let name = self.name();
            let made = forms::create(ctx, &name, definition).await.expect("a form");
            if self.up_to(1) == 0 {
                let (id, definition) = (made.stored.id, made.definition);
                forms::change(ctx, id, &name, definition, true).await.expect("archive it");
            }
        }
        if self.up_to(1) == 0 {
            let texts = BTreeMap::from([("confirm_subject".to_owned(), self.text())]);
            let key = pages::KEYS[0].to_owned();
            let texts = BTreeMap::from([(key, texts["confirm_subject"].clone())]);
            let texts = BTreeMap::from([("nl".to_owned(), texts)]);
            let settings = PageSettings { default_language: "nl".to_owned(), texts };
            pages::save(ctx, settings).await.expect("words of pages");
        }
        offered
    }

    async fn campaigns(
        &mut self,
        ctx: &Ctx,
        templates: &[tidings_domain::TemplateId],
        topics: &[String],
    ) {
        let segments = segments::list(ctx).await.expect("segments");
        for _ in 0..self.up_to(3) {
            if templates.is_empty() {
                return;
            }
            let segment = (!segments.is_empty()).then(|| self.pick(&segments).id);
            let topic = (!topics.is_empty()).then(|| self.pick(topics).clone());
            let is_scheduled = self.up_to(1) == 0;
            let class = *self.pick(&[MessageClass::Marketing, MessageClass::Transactional]);
            let variant = |name: &str, template| Variant {
                name: name.to_owned(),
                weight: 50,
                subject: Some(format!("{name} \"subject\"")),
                template,
                template_version: None,
            };
            let plan = Plan {
                holdout: Share::of_percent(2.5).filter(|_| class == MessageClass::Marketing),
                test: (self.up_to(1) == 0).then(|| Test {
                    variants: vec![variant("A/b", None), variant("a", Some(*self.pick(templates)))],
                    share: Share::of_percent(20.0).expect("a share"),
                    metric: Metric::Clicks,
                    hours: 4,
                    otherwise: Otherwise::First,
                }),
                ..Plan::default()
            };
            let draft = CampaignDraft {
                // Two campaigns may have one name.
                name: (*self.pick(&["Letter", "letter", "Brief/2"])).to_owned(),
                segment,
                template: *self.pick(templates),
                sender: Sender {
                    name: self.line(),
                    address: "letters@shop.example".to_owned(),
                    reply_to: (self.up_to(1) == 0).then(|| "re@shop.example".to_owned()),
                },
                class,
                topic,
                scheduled_at: is_scheduled.then(|| ctx.now().plus_secs(86_400 * 365 + 1)),
                link_parameters: vec![
                    ("utm_source".to_owned(), self.line().chars().take(20).collect()),
                    ("a".to_owned(), "b c".to_owned()),
                ],
                plan,
            };
            let id = campaigns::create(ctx, draft).await.expect("a campaign");
            if is_scheduled && self.up_to(1) == 0 {
                campaigns::launch(ctx, id, None).await.expect("schedule it");
            }
        }
    }
}
