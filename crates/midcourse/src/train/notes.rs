//! `midcourse.json` of a trained adapter: for what it was made, and on what.

use anyhow::Result;
use midcourse_core::chat::Message;
use midcourse_core::data::prompt_hash;

use super::TrainPlan;
use crate::adapter_notes::{AdapterNotes, Base, SCHEMA};
use crate::model;

/// The file's text.
pub(crate) fn notes(plan: &TrainPlan, base: &model::Base, prompts: &[Vec<Message>]) -> Result<String> {
    let notes = AdapterNotes {
        schema: SCHEMA.into(),
        midcourse: env!("CARGO_PKG_VERSION").into(),
        base: Base::of(&base.identity),
        template_sha256: base.identity.template_sha256.clone(),
        system: base.template.framing().system.clone().into(),
        objective: plan.settings.objective.objective.name().into(),
        prompts: prompts.iter().map(|prompt| prompt_hash(prompt)).collect(),
    };
    notes.to_json()
}
