//! A schema registry with Confluent's interface: it returns schemas by id, and ids for schemas.

use super::values::Written;
use crate::http::Http;
use crate::options::TableSpec;
use apache_avro::Schema;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use weir_core::option_spec::{Opt, OptionSpec};
use weir_core::thread::locked;
use weir_core::{Error, Result, options};

/// A schema registry. It is asked once for each schema.
pub(super) struct SchemaRegistry {
    http: Http,
    url: String,
    known: Mutex<HashMap<u32, FetchedSchema>>,
}

options! {
    /// The options of a schema registry.
    pub(super) OPTIONS:
    URL: String = Opt::address("url", "the address of the schema registry").required();
}

/// Options that are accepted without effect.
pub(super) const IDLE: &[OptionSpec] =
    &[OptionSpec::idle("basic-auth.credentials-source", "the user is always that of `basic-auth.user-info`").how()];

/// A schema, or why it cannot be used.
type FetchedSchema = std::result::Result<Arc<Written>, String>;

impl SchemaRegistry {
    /// The registry that a table's options give.
    pub fn new(table: &TableSpec) -> Result<Self> {
        let url = table.value(&URL)?.trim_end_matches('/').to_string();
        let parsed = url::Url::parse(&url).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
        let Some(parsed) = parsed else {
            let e = format!("'{}' of table '{}' is no address of a registry", table.key_of(&URL), table.name);
            return Err(Error::script(e).at(table.place_of(&URL)).hint("it is like http://registry:8081"));
        };
        let what = format!("the schema registry at {}", parsed.host_str().unwrap_or_default());
        Ok(SchemaRegistry { http: Http::new(table, what)?, url, known: Mutex::default() })
    }

    fn refused(&self, what: &str, answer: &crate::http::HttpResponse) -> Error {
        let e = Error::script(format!("the schema registry refuses {what}: {}", answer.shown()));
        match answer.status {
            401 | 403 => {
                e.hint("it wants a user: set '….basic-auth.user-info' = 'user:password' or '….bearer-auth.token'")
            }
            409 => e.hint(
                "the subject's other versions are not compatible with the table's columns; change the table, or the \
                           subject's compatibility",
            ),
            _ => e,
        }
    }

    /// The schema with an id. The inner error belongs to the record, if the registry has no such schema.
    ///
    /// # Errors
    /// If the registry does not answer.
    pub fn schema(&self, id: u32) -> Result<FetchedSchema> {
        if let Some(found) = locked(&self.known).get(&id) {
            return Ok(found.clone());
        }
        let url = format!("{}/schemas/ids/{id}", self.url);
        let answer = self.http.send(|c| c.get(&url))?;
        let found = match answer.status {
            404 => return Ok(Err(format!("the schema registry has no schema {id}"))),
            _ if answer.good() => parsed(id, &answer.body),
            _ => return Err(self.refused(&format!("to show schema {id}"), &answer)),
        };
        locked(&self.known).insert(id, found.clone());
        Ok(found)
    }

    /// The id of a schema under a subject. The schema is registered if it is new.
    ///
    /// # Errors
    /// If the registry does not answer, or rejects the schema.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let mut url = url::Url::parse(&self.url).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
        url.path_segments_mut()
            .map_err(|()| Error::internal("an address without a path"))?
            .pop_if_empty()
            .extend(["subjects", subject, "versions"]);
        let body = serde_json::json!({ "schema": schema }).to_string();
        let kind = "application/vnd.schemaregistry.v1+json";
        let answer = self.http.send(|c| c.post(url.clone()).header("Content-Type", kind).body(body.clone()))?;
        if !answer.good() {
            return Err(self.refused(&format!("a schema for '{subject}'"), &answer));
        }
        // A response without an id, or one that is not JSON, is shown in the error.
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        json["id"]
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| Error::io(format!("the schema registry's answer has no id: {}", answer.shown())))
    }
}

fn parsed(id: u32, body: &str) -> FetchedSchema {
    let json: serde_json::Value = serde_json::from_str(body).map_err(|e| format!("schema {id}: {e}"))?;
    if let Some(other) = json["schemaType"].as_str().filter(|t| *t != "AVRO") {
        return Err(format!("schema {id} is {other}, not Avro"));
    }
    if json["references"].as_array().is_some_and(|r| !r.is_empty()) {
        return Err(format!("schema {id} refers to other schemas, which is not supported"));
    }
    let text = json["schema"].as_str().ok_or_else(|| format!("schema {id} has no text"))?;
    Schema::parse_str(text)
        .map(|s| Arc::new(Written::new(s)))
        .map_err(|e| format!("schema {id} is no Avro schema: {e}"))
}
