//! The states that a function declares, made known to its backend.

use std::sync::Arc;

use wasmill_engine::error::TaskError;
use wasmill_engine::operator::OperatorContext;
use wasmill_model::function::{FunctionKind, StateDeclaration, StateKind};
use wasmill_state::backend::StateId;
use wasmill_state::migration::{self, Migration};

use super::blueprint::Blueprint;
use super::migration::GuestMigration;
use crate::journal::scope::DeclaredState;
use crate::registry::info::Family;

/// Registers the declared states with the backend. What an older version has stored is converted, where the component can.
pub(super) fn declare(
    blueprint: &Arc<Blueprint>,
    context: &mut OperatorContext,
) -> Result<Vec<DeclaredState>, TaskError> {
    let kind = blueprint.description().kind;
    let mut states = Vec::new();
    for declaration in &blueprint.description().state {
        let name = match kind {
            // The names of a trigger's states and of a window function's are kept apart.
            FunctionKind::Trigger => format!("trigger-{}", declaration.name),
            _ => declaration.name.clone(),
        };
        let stored_as = StateDeclaration {
            name,
            ..declaration.clone()
        };
        let converts = declaration.migrates_from;
        let mut converts =
            converts.map(|_| GuestMigration::new(blueprint, &context.runtime, &declaration.name));
        let converts = converts.as_mut().map(|converts| converts as &mut dyn Migration);
        let id = migration::register(&mut *context.state, &stored_as, converts)?;
        states.push(DeclaredState {
            name: declaration.name.clone(),
            kind: declaration.kind,
            reduce: declaration.reduce,
            prefetched: blueprint.family() == Family::Frame && declaration.is_prefetched(),
            of_key: kind.is_over_elements() && !declaration.per_window,
            ttl: declaration.ttl,
            id,
        });
    }
    Ok(states)
}

/// The only state of a function that folds in a window: the window's accumulator.
pub(super) fn accumulator(blueprint: &Blueprint, id: StateId) -> DeclaredState {
    let description = blueprint.description();
    let kind = match description.kind {
        FunctionKind::Reduce => StateKind::Reducing,
        _ => StateKind::Aggregating,
    };
    DeclaredState {
        name: "accumulator".to_owned(),
        kind,
        reduce: None,
        prefetched: blueprint.family() == Family::Frame,
        of_key: false,
        ttl: None,
        id,
    }
}
