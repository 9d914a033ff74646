//! Checks before a load: whether the server answers, what it serves, and how many tokens its words have.

use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::LoadError;
use super::client::{beginning, complaint, innermost};
use super::prompt::{PromptSource, SAMPLE_WORDS, Script, sample_text};
use super::run::Api;
use super::settings::LoadSettings;

/// Timeout of these checks. A server that needs longer could not carry a load.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes read of an answer: the list of a model with a thousand adapters has a few hundred thousand.
const LONGEST_ANSWER: usize = 1 << 20;

/// What the server serves.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerOffer {
    /// The model name to use in requests.
    pub model: String,
    /// Whether it is vLLM, which supports more than the common interface.
    pub is_vllm: bool,
    /// The form of synthetic prompts.
    pub script: Script,
}

#[derive(Deserialize)]
struct ModelsResponse {
    data: Vec<ListedModel>,
}

#[derive(Deserialize)]
struct ListedModel {
    id: String,
    owned_by: Option<String>,
}

#[derive(Deserialize)]
struct Tokenized {
    count: f64,
}

/// Queries the server of `settings`.
///
/// # Errors
/// [`LoadError::Unreachable`], or [`LoadError::WrongModel`] where it does not serve the requested model.
pub async fn ask(settings: &LoadSettings) -> Result<ServerOffer, LoadError> {
    let http = &settings.http;
    let with_key = |request: RequestBuilder| match &settings.authorization {
        Some(value) => request.header(AUTHORIZATION, value),
        None => request,
    };
    let at = |path: &str| {
        settings
            .url
            .join(path)
            .map_err(|error| LoadError::Client(error.to_string()))
    };
    let (status, models) = answer(settings, with_key(http.get(at("v1/models")?))).await?;
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(LoadError::Refused(format!(
            "{} answered {status} to v1/models; set --vllm-api-key-file",
            settings.shown_url
        )));
    }
    let models: Vec<ListedModel> = serde_json::from_str(&models)
        .map(|models: ModelsResponse| models.data)
        .unwrap_or_default();
    let is_vllm = models
        .iter()
        .any(|model| model.owned_by.as_deref() == Some("vllm"));
    let model = choose(settings, &models)?;
    let script = match (settings.api, &settings.prompts) {
        (Api::Chat, PromptSource::Synthetic(_)) => {
            let body =
                json!({"model": model, "prompt": sample_text(), "add_special_tokens": false});
            let request = http
                .post(at("tokenize")?)
                .header("content-type", "application/json")
                .body(body.to_string());
            let answered = answer(settings, with_key(request)).await;
            words(answered.ok().map(|(_, text)| text).as_deref())
        }
        _ => Script::Tokens,
    };
    Ok(ServerOffer {
        model,
        is_vllm,
        script,
    })
}

async fn answer(
    settings: &LoadSettings,
    request: RequestBuilder,
) -> Result<(StatusCode, String), LoadError> {
    let failed = |cause: String| LoadError::Unreachable {
        url: settings.shown_url.clone(),
        cause,
    };
    let answer = async {
        let response = request.send().await?;
        Ok::<_, reqwest::Error>((
            response.status(),
            beginning(response, LONGEST_ANSWER).await?,
        ))
    };
    timeout(PATIENCE, answer)
        .await
        .map_err(|_| failed(format!("no answer within {PATIENCE:?}")))?
        .map_err(|error| failed(innermost(&error)))
}

/// The requested model, if it is served; the first served model, if none is requested.
fn choose(settings: &LoadSettings, models: &[ListedModel]) -> Result<String, LoadError> {
    match (&settings.model, models.first()) {
        (Some(name), Some(_)) if models.iter().all(|model| model.id != *name) => {
            Err(LoadError::WrongModel {
                name: name.clone(),
                url: settings.shown_url.clone(),
                served: models
                    .iter()
                    .map(|model| model.id.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
        }
        (Some(name), _) => Ok(name.clone()),
        (None, Some(first)) => Ok(first.id.clone()),
        (None, None) => Err(LoadError::Refused(format!(
            "{}v1/models names no model; name it with --served-model-name",
            settings.shown_url
        ))),
    }
}

/// Words per token by the server's count of the sample; one, where the server does not count.
fn words(tokenized: Option<&str>) -> Script {
    let count = tokenized
        .and_then(|text| serde_json::from_str(text).ok())
        .map(|Tokenized { count }| count);
    if count.is_none() {
        tracing::info!(
            answer = tokenized.map(complaint),
            "the server does not tokenize: a word counts as one token until it says otherwise"
        );
    }
    Script::Words {
        per_token: count
            .filter(|count| *count > 0.0)
            .map_or(1.0, |count| SAMPLE_WORDS / count),
    }
}
