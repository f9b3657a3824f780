//! The demo's segments, template and campaign.

use serde_json::{Value, json};

/// Segment names and rules.
pub fn segments() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Newsletter readers",
            json!({"all": [
                {"attribute": "newsletter", "op": "eq", "value": true},
                {"attribute": "email", "op": "exists"}
            ]}),
        ),
        (
            "Bought in the last 30 days",
            json!({"event": "order_placed", "within": "30d", "count": {"gte": 1}}),
        ),
        (
            "Big spenders",
            json!({"all": [
                {"table": "orders", "where": [{"field": "status", "op": "eq", "value": "paid"}],
                 "sum": "total", "gte": 150},
                {"not": {"tag": "do not disturb"}}
            ]}),
        ),
    ]
}

pub const TEMPLATE_NAME: &str = "Autumn letter";
pub const SUBJECT: &str = "{% case customer.language %}{% when 'nl' %}Dag {{ customer.first_name }}, iets warms voor de herfst{% when 'de' %}Hallo {{ customer.first_name }}, etwas Warmes für den Herbst{% when 'fr' %}Bonjour {{ customer.first_name }}, un peu de chaleur pour l’automne{% when 'es' %}Hola {{ customer.first_name }}, algo cálido para el otoño{% else %}Hello {{ customer.first_name }}, something warm for autumn{% endcase %}";
pub const HTML: &str = include_str!("letter.html");
