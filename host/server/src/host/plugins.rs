//! What a job's plugin references mean on a host: a registered name or a digest, never a path.

use crate::job::lower::{PluginLookup, ResolvedPlugin};

use super::Host;

/// Whether a reference of a job file is a path to a component.
pub fn is_path(reference: &str) -> bool {
    reference.contains('/') || reference.ends_with(".wasm") || reference.starts_with('.')
}

impl PluginLookup for Host {
    fn plugin(&self, reference: &str) -> Result<ResolvedPlugin, String> {
        if is_path(reference) {
            return Err(format!(
                "`{}` is a path, which a host does not read: submit the job with `wasmill run`, which uploads the component, \
                 or upload it with `wasmill plugin upload` and write its name here",
                reference.escape_debug()
            ));
        }
        let info = self.plugins.get(reference).map_err(|e| e.to_string())?;
        Ok(ResolvedPlugin {
            digest: info.digest.to_string(),
            description: info.description,
        })
    }
}
