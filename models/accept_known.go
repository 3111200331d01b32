package models

import (
	"slices"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
)

// knowledge is what an Accepter has read of tenants and topics for earlier groups. A transaction that takes it for granted sends
// everything in one round trip, with a statement that fails when any of it has changed.
type knowledge struct {
	mu        sync.RWMutex
	tenants   map[string]tenantSeen // by id
	catalogue []string              // of this database's topics
	topics    string                // their fingerprint; empty before they were read
}

// tenantSeen is a tenant as a transaction has read it: one that is not deleted, here, and not held.
type tenantSeen struct{ key, version, payloadKey int64 }

// learn remembers what a transaction has read.
func (k *knowledge) learn(tenants map[string]tenantSeen, catalogue []string, topics string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tenants == nil || len(k.tenants)+len(tenants) > maxCachedTenants {
		k.tenants = map[string]tenantSeen{}
	}
	for id, t := range tenants {
		k.tenants[id] = t
	}
	k.catalogue, k.topics = catalogue, topics
}

// The condition of acceptKnown, and topicsPrint, which tells one set of topics from another.
const (
	topicsPrint = "(select count(*) || ' ' || coalesce(sum(hashtextextended(name, 0)), 0) from topics)"
	tenantsSame = `(select count(*) from tenants t where t.id = any($1) and t.deleted_at is null and t.cell is null
		and (t.held_until > clock_timestamp()) is not true
		and t.key::text || ' ' || t.version || ' ' || coalesce(t.payload_key, 0) = any($2)) = cardinality($1::text[])`
)

var (
	acceptKnown       = orStale(tenantsSame + " and " + topicsPrint + " = $3")
	acceptKnownInCell = orStale(tenantsSame)
)

// known prepares a transaction that takes for granted what is known of a group's tenants and of the topics. It returns nil when too
// little is known, or when statements are to come of which the others depend.
func (a *Accepter) known(tx *hotTx, group []*publishing) (tenants map[string]*accepting, catalogue []string) {
	if !tx.canGuess() {
		return nil, nil
	}
	k := &a.knowledge
	k.mu.RLock()
	defer k.mu.RUnlock()
	tenants = make(map[string]*accepting, 1)
	var ids, seen []string
	for _, p := range group {
		if p.in.Claim != nil {
			return nil, nil
		}
		id := p.in.TenantID
		if tenants[id] != nil {
			continue
		}
		t, ok := k.tenants[id]
		if !ok {
			return nil, nil
		}
		to := &accepting{key: t.key, routes: a.routes.get(t.key, t.version)}
		if a.s.payloads.on {
			to.seal = a.s.payloads.inForce(t.payloadKey)
		}
		if to.routes == nil || a.s.payloads.on && to.seal == nil {
			return nil, nil
		}
		tenants[id] = to
		ids = append(ids, id)
		seen = append(seen, strconv.FormatInt(t.key, 10)+" "+strconv.FormatInt(t.version, 10)+" "+strconv.FormatInt(t.payloadKey, 10))
	}
	b := &pgx.Batch{}
	tx.begin(b)
	b.Queue(acceptLock, int32(lockTenant), lockHashes(ids))
	if a.s.home != nil {
		catalogue = a.s.home.catalogue.list()
		b.Queue(acceptKnownInCell, ids, seen)
	} else {
		catalogue = k.catalogue
		b.Queue(acceptKnown, ids, seen, k.topics)
	}
	tx.first = b
	return tenants, slices.Concat(catalogue, a.s.Rules().Topics)
}
