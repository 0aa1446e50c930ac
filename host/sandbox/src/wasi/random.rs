//! Random numbers that follow from the event: a repeated handling draws the same.

use sha2::{Digest as _, Sha256};
use wasmtime::Result;
use wasmtime::component::LinkerInstance;

use crate::guest::Guest;

/// What one call may ask for: what Web Crypto allows.
const MAX_BYTES: u64 = 65_536;

/// SHA-256 over seed and counter. Nobody who knows the event's id is to be surprised by it, so it
/// is no source of secrets.
pub(crate) struct Random {
    seed: [u8; 32],
    block: [u8; 32],
    used: usize,
    blocks: u64,
}

impl Random {
    fn seeded(plugin: &str, event_id: &str) -> Self {
        let mut seed = Sha256::new();
        seed.update((plugin.len() as u64).to_le_bytes());
        seed.update(plugin);
        seed.update(event_id);
        Self {
            seed: seed.finalize().into(),
            block: [0; 32],
            used: 32,
            blocks: 0,
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.block.len() {
                let mut next = Sha256::new();
                next.update(self.seed);
                next.update(self.blocks.to_le_bytes());
                self.block = next.finalize().into();
                self.blocks += 1;
                self.used = 0;
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
    }
}

pub(super) fn random(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    define(instance, "get-random-bytes", "get-random-u64")
}

pub(super) fn insecure(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    define(
        instance,
        "get-insecure-random-bytes",
        "get-insecure-random-u64",
    )
}

pub(super) fn insecure_seed(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap("insecure-seed", |mut context, ()| {
        let guest = context.data_mut();
        Ok(((guest.random_u64(), guest.random_u64()),))
    })
}

fn define(instance: &mut LinkerInstance<'_, Guest>, bytes: &str, number: &str) -> Result<()> {
    instance.func_wrap(bytes, |mut context, (length,): (u64,)| {
        Ok((context.data_mut().random_bytes(length)?,))
    })?;
    instance.func_wrap(number, |mut context, ()| {
        Ok((context.data_mut().random_u64(),))
    })
}

impl Guest {
    fn random(&mut self) -> &mut Random {
        let (plugin, event_id) = (&self.tenant.name, &self.event_id);
        self.system
            .random
            .get_or_insert_with(|| Random::seeded(plugin, event_id))
    }

    fn random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        if length > MAX_BYTES {
            return Err(self.end_call(&format!(
                "it asked for {length} random bytes at once, and {MAX_BYTES} is the most"
            )));
        }
        let mut bytes = vec![0; usize::try_from(length)?];
        self.random().fill(&mut bytes);
        Ok(bytes)
    }

    fn random_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.random().fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}
