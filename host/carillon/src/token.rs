//! `carillon token`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use carillon_web::TokenMinter;

use crate::arguments::TokenOptions;
use crate::{configuration, data_folder};

pub(crate) fn print(options: &TokenOptions) -> Result<()> {
    let configuration = configuration::read(&options.common)?;
    let tokens = data_folder::tokens(&options.common.data, &configuration.tokens)?;
    let minter = TokenMinter::from_config(&tokens)?.context(
        "tokens are checked with public keys only (tokens.jwks_file), so none can be made here; ask whoever holds the private key",
    )?;
    println!(
        "{}",
        minter.mint(
            &options.user,
            &options.group,
            &options.role,
            Duration::from_secs(options.ttl)
        )?
    );
    Ok(())
}
