//! A stream of configurations for an identity that is replaced from time to time.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use rustls::ClientConfig;
use symbolon_types::{ClientIdentity, IdentityWatch};

use crate::configs::ClientConfigs;
use crate::error::TlsError;
use crate::trust::ServerTrust;

/// The TLS configuration of the present identity of an [`IdentityWatch`]; see
/// [`ClientConfigs::rotating`].
///
/// Each identity has a configuration of its own, so a rotation never changes one that is in use:
/// open connections continue with their certificate, and new ones, made with
/// [`current`](Self::current), present the new one in a full handshake.
///
/// ```no_run
/// # use symbolon_rustls::RotatingConfig;
/// # async fn example(mut rotating: RotatingConfig) {
/// loop {
///     match rotating.changed().await {
///         Some(config) => println!("connect with {config:?} from now on"),
///         None => println!("the certificate was refused; the next token request replaces it"),
///     }
/// }
/// # }
/// ```
///
/// A bound token requires a connection of exactly its certificate. For a request with such a token,
/// pass the identity of the token to [`ClientConfigs::config`].
#[derive(Clone)]
pub struct RotatingConfig {
    configs: ClientConfigs,
    roots: ServerTrust,
    watch: Box<dyn ErasedWatch>,
}

impl ClientConfigs {
    /// Follows the identity of a watch. The root certificates are loaded first.
    ///
    /// # Errors
    /// [`TlsErrorKind::Roots`](crate::TlsErrorKind::Roots) if they cannot be loaded.
    pub async fn rotating(&self, watch: impl IdentityWatch) -> Result<RotatingConfig, TlsError> {
        let roots = self.roots().await?;
        Ok(RotatingConfig { configs: self.clone(), roots, watch: Box::new(watch) })
    }
}

impl RotatingConfig {
    /// Returns the configuration of the present identity; `None` if there is none, such as before
    /// the first bound token of a managed identity. The same identity has the same configuration.
    #[must_use]
    pub fn current(&self) -> Option<Arc<ClientConfig>> {
        self.watch.current().map(|identity| self.config_of(&identity))
    }

    /// Waits for the next change of the identity and returns the new state. Changes in quick
    /// succession may be reported as one.
    pub async fn changed(&mut self) -> Option<Arc<ClientConfig>> {
        let identity = self.watch.changed().await;
        identity.map(|identity| self.config_of(&identity))
    }

    fn config_of(&self, identity: &ClientIdentity) -> Arc<ClientConfig> {
        Arc::clone(self.configs.client_with_roots(Some(identity), &self.roots).config())
    }
}

/// An [`IdentityWatch`] behind a pointer.
#[async_trait]
trait ErasedWatch: fmt::Debug + Send + Sync {
    fn current(&self) -> Option<ClientIdentity>;
    async fn changed(&mut self) -> Option<ClientIdentity>;
    fn clone_box(&self) -> Box<dyn ErasedWatch>;
}

#[async_trait]
impl<W: IdentityWatch> ErasedWatch for W {
    fn current(&self) -> Option<ClientIdentity> {
        self.current_identity()
    }

    async fn changed(&mut self) -> Option<ClientIdentity> {
        self.identity_changed().await
    }

    fn clone_box(&self) -> Box<dyn ErasedWatch> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn ErasedWatch> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}

symbolon_types::debug_fields!(RotatingConfig: configs, watch);
