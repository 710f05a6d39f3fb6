//! TLS by rustls, with the certificates that the platform trusts.

use rustls::crypto::CryptoProvider;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::Refused;

pub(crate) fn connector() -> Result<MakeRustlsConnect, Refused> {
    // Without one, rustls would panic.
    if CryptoProvider::get_default().is_none() {
        return Err(Refused::NoCrypto);
    }
    let (connector, failures) =
        MakeRustlsConnect::with_native_certs().map_err(|_| Refused::NoCertificates)?;
    for error in failures {
        tracing::debug!(%error, "a certificate of the platform cannot be read");
    }
    Ok(connector)
}
