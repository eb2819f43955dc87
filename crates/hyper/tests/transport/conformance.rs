//! Transports that do not conform, to test the conformance suite.

use std::sync::Mutex;

use http::Method;
use symbolon_hyper::HyperTransport;
use symbolon_transport::{
    Capabilities, Idempotence, Request, Response, Transport, TransportError, TransportErrorKind, conformance,
};
use symbolon_types::{ClientIdentity, Context, Env, ServerAuth};

/// A violation of the contract.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    None,
    OmitsIdentity,
    SharesIdentity,
    IgnoresPin,
    IgnoresPrivateTrust,
    RepeatsPosts,
    NeverRepeats,
    CallsRejectionTls,
    CallsLossRejection,
    DeclaresNothing,
}

/// A transport with a defect, above a correct one.
#[derive(Debug)]
struct DefectiveTransport {
    transport: HyperTransport,
    defect: Defect,
    first: Mutex<Option<ClientIdentity>>,
}

impl Transport for DefectiveTransport {
    fn capabilities(&self) -> Capabilities {
        match self.defect {
            Defect::DeclaresNothing => Capabilities::none(),
            _ => self.transport.capabilities(),
        }
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let is_pinned = matches!(request.server_auth(), ServerAuth::Pinned(_));
        let is_private = matches!(request.server_auth(), ServerAuth::Private(_));
        let request = match self.defect {
            Defect::OmitsIdentity => request.with_identity(None),
            Defect::SharesIdentity => {
                let mut first = self.first.lock().unwrap();
                *first = first.take().or_else(|| request.identity().cloned());
                request.with_identity(first.clone())
            }
            Defect::IgnoresPin if is_pinned => request.with_pinned_server(None),
            Defect::IgnoresPrivateTrust if is_private => request.with_private_trust(None),
            Defect::RepeatsPosts => request.with_idempotence(Idempotence::Message),
            Defect::NeverRepeats => request.with_idempotence(Idempotence::None),
            _ => request,
        };
        let is_bound_post = request.identity().is_some() && *request.method() == Method::POST;
        let sent = self.transport.send(request).await;
        sent.map_err(|error| match (self.defect, error.kind()) {
            (Defect::CallsRejectionTls, TransportErrorKind::IdentityRejected) => {
                TransportErrorKind::Tls.into()
            }
            (Defect::CallsLossRejection, TransportErrorKind::Interrupted) if is_bound_post => {
                TransportErrorKind::IdentityRejected.into()
            }
            _ => error,
        })
    }
}

#[tokio::test]
async fn defective_transports_do_not_conform() {
    for (defect, conforms) in [
        (Defect::None, true),
        (Defect::DeclaresNothing, true),
        (Defect::OmitsIdentity, false),
        (Defect::SharesIdentity, false),
        (Defect::IgnoresPin, false),
        (Defect::IgnoresPrivateTrust, false),
        (Defect::RepeatsPosts, false),
        (Defect::NeverRepeats, false),
        (Defect::CallsRejectionTls, false),
        (Defect::CallsLossRejection, false),
    ] {
        let report = conformance::check_tls(|root| DefectiveTransport {
            transport: HyperTransport::builder()
                .platform_roots(false)
                .context(Context::default().with_env(Env::empty()))
                .root_certificates([root])
                .build()
                .unwrap(),
            defect,
            first: Mutex::default(),
        })
        .await;
        assert_eq!(report.holds(), conforms, "{defect:?}\n{report}");
    }
}
