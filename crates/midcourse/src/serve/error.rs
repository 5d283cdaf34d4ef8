//! Refusals in the shape of OpenAI's API.

use serde_json::{Value, json};

use super::http::Response;

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub status: u16,
    /// What was expected and what was found.
    pub message: String,
    /// The field of the request.
    pub param: Option<String>,
    pub code: Option<&'static str>,
    /// Another header of the answer.
    pub header: Option<(&'static str, String)>,
}

impl ApiError {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None, header: None }
    }

    /// A field of the request that cannot be served.
    pub(super) fn field(name: &str, problem: impl std::fmt::Display) -> Self {
        Self { param: Some(name.to_owned()), ..Self::new(400, format!("{name}: {problem}")) }
    }

    pub(super) fn internal(problem: impl std::fmt::Display) -> Self {
        Self::new(500, problem.to_string())
    }

    fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The body of the answer.
    pub(super) fn body(&self) -> Value {
        let Self { message, param, code, .. } = self;
        json!({"error": {"message": message, "type": self.kind(), "param": param, "code": code}})
    }

    pub(super) fn response(&self) -> Response {
        Response { status: self.status, body: self.body(), header: self.header.clone() }
    }
}
