//! What a credential wore before.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::auth::ClientAuth;
use super::auth_future::AuthFuture;
use super::cached_auth::CachedAuth;
use super::source::{CredentialRequest, Purpose};

/// How many tenants besides the client's own are remembered. When there are more, all are
/// forgotten: it is only put together, and can be again.
const CAPACITY: usize = 1000;

/// What a credential wore before, by tenant and by whether the token is bound, so that nothing is
/// put together anew at each look-up.
///
/// It is for look-ups alone: they need to know who is asking, not where, so it does not matter
/// that an endpoint or a region may have changed since.
#[derive(Debug, Default)]
pub(crate) struct AuthMemo {
    /// For the client's own tenant.
    own: MemoSlot,
    /// By the tenant as the caller spells it.
    others: ArcSwap<HashMap<Arc<str>, Arc<MemoSlot>>>,
}

#[derive(Debug, Default)]
struct MemoSlot {
    bearer: CachedAuth,
    bound: CachedAuth,
}

impl AuthMemo {
    pub(super) fn lend(&self, request: &CredentialRequest<'_>) -> Option<AuthFuture<'static>> {
        if request.purpose() != Purpose::LookUp {
            return None;
        }
        let lend = |worn: &MemoSlot| worn.of(request).lend(|_| true);
        match request.tenant() {
            None => lend(&self.own),
            Some(tenant) => lend(self.others.load().get(tenant)?),
        }
    }

    /// What an exchange presents is what the next look-up is about; what a look-up put together
    /// only fills a gap. What says the same already stays: keys that share a partition are compared
    /// without reading it.
    pub(crate) fn keep(&self, request: &CredentialRequest<'_>, auth: &ClientAuth) {
        let says_the_same = |worn: &ClientAuth| {
            worn.partition() == auth.partition()
                && worn.scheme() == auth.scheme()
                && worn.identity() == auth.identity()
        };
        let keep = |worn: &MemoSlot| match request.purpose() {
            Purpose::LookUp => worn.of(request).fill(auth.clone().remembered()),
            Purpose::Exchange if worn.of(request).lend(says_the_same).is_some() => {}
            Purpose::Exchange => worn.of(request).replace(auth.clone().remembered()),
        };
        match request.tenant() {
            None => keep(&self.own),
            Some(tenant) => keep(&self.of_tenant(tenant)),
        }
    }

    fn of_tenant(&self, tenant: &str) -> Arc<MemoSlot> {
        if let Some(worn) = self.others.load().get(tenant) {
            return Arc::clone(worn);
        }
        let worn = Arc::new(MemoSlot::default());
        self.others.rcu(|others| {
            let mut others = if others.len() < CAPACITY { HashMap::clone(others) } else { HashMap::new() };
            others.entry(tenant.into()).or_insert_with(|| Arc::clone(&worn));
            others
        });
        // Another thread may have been faster.
        self.others.load().get(tenant).map_or(worn, Arc::clone)
    }
}

impl MemoSlot {
    fn of(&self, request: &CredentialRequest<'_>) -> &CachedAuth {
        if request.proof_of_possession() { &self.bound } else { &self.bearer }
    }
}

#[cfg(test)]
mod tests {
    use symbolon_transport::testing::ScriptedTransport;
    use symbolon_transport::{HttpClient, SharedTransport};
    use symbolon_types::Context;

    use super::*;
    use crate::oauth::TokenEndpoint;
    use crate::token::Partition;

    fn http() -> HttpClient {
        let transport = SharedTransport::new(ScriptedTransport::new([]));
        HttpClient::new(transport, Context::default())
    }

    fn request<'a>(
        http: &'a HttpClient,
        purpose: Purpose,
        tenant: Option<&'a str>,
        proof_of_possession: bool,
    ) -> CredentialRequest<'a> {
        CredentialRequest {
            purpose,
            proof_of_possession,
            for_user: false,
            tenant,
            correlation_id: None,
            now: http.context().clock().now(),
            http,
        }
    }

    fn auth(client_id: &str) -> ClientAuth {
        let endpoint = TokenEndpoint::parse("https://a.example/token").unwrap();
        ClientAuth::new(client_id, endpoint, Partition::new(client_id))
    }

    fn lent(memo: &AuthMemo, request: &CredentialRequest<'_>) -> Option<String> {
        Some(memo.lend(request)?.known()?.client_id().to_owned())
    }

    #[test]
    fn what_was_worn_is_lent_only_to_look_ups_of_its_tenant_and_kind() {
        let (memo, http) = (AuthMemo::default(), http());
        let look_up = |tenant, is_bound| request(&http, Purpose::LookUp, tenant, is_bound);
        memo.keep(&look_up(None, false), &auth("own"));
        memo.keep(&look_up(Some("t"), true), &auth("t"));
        for (tenant, is_bound, expected) in [
            (None, false, Some("own")),
            (None, true, None),
            (Some("t"), true, Some("t")),
            (Some("t"), false, None),
            (Some("u"), true, None),
        ] {
            assert_eq!(lent(&memo, &look_up(tenant, is_bound)).as_deref(), expected, "{tenant:?}");
        }
        assert!(memo.lend(&request(&http, Purpose::Exchange, None, false)).is_none());
    }

    #[test]
    fn an_exchange_replaces_what_was_worn_and_a_look_up_does_not() {
        let (memo, http) = (AuthMemo::default(), http());
        let look_up = request(&http, Purpose::LookUp, None, false);
        for (purpose, client_id, expected) in [
            (Purpose::LookUp, "first", "first"),
            (Purpose::LookUp, "second", "first"),
            (Purpose::Exchange, "third", "third"),
            (Purpose::LookUp, "fourth", "third"),
        ] {
            memo.keep(&request(&http, purpose, None, false), &auth(client_id));
            assert_eq!(lent(&memo, &look_up).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_number_of_tenants_is_bounded() {
        let (memo, http) = (AuthMemo::default(), http());
        for number in 0..=CAPACITY {
            let tenant = number.to_string();
            memo.keep(&request(&http, Purpose::LookUp, Some(&tenant), false), &auth(&tenant));
        }
        let last = CAPACITY.to_string();
        let found = |tenant| lent(&memo, &request(&http, Purpose::LookUp, Some(tenant), false));
        assert_eq!((found("0"), found(&last)), (None, Some(last.clone())));
    }

    #[test]
    fn a_tenant_that_was_seen_before_is_looked_up_without_allocating() {
        let (memo, http) = (AuthMemo::default(), http());
        for tenant in [None, Some("Fabrikam.com")] {
            let look_up = request(&http, Purpose::LookUp, tenant, true);
            memo.keep(&look_up, &auth("c"));
            let mut is_lent = false;
            let cost = allocation_counter::measure(|| is_lent = memo.lend(&look_up).is_some());
            assert_eq!((is_lent, cost.count_total), (true, 0), "{tenant:?}");
        }
    }
}
