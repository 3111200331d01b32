package models

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const viewPrefix = "viw_"

// ViewEvents is the list that a saved view may be of.
const ViewEvents = "events"

// Limits of saved views.
const (
	maxViews     = 50 // of one tenant, or of the operators: shared ones, and of each user as many
	maxViewName  = 80
	maxViewQuery = 4000
)

// SavedView is a list with conditions that has a name.
type SavedView struct {
	Key       uuid.UUID
	TenantKey int64     // 0 for the operators', over all tenants
	TenantID  string    // empty for the operators'
	UserID    uuid.UUID // whose it is; zero for a shared one
	Owner     string    // the user's name; empty for a shared one
	List      string
	Name      string
	Query     string // the list's address after the question mark
	Position  int    // from 1
	CreatedBy string
	CreatedAt time.Time
	UpdatedAt time.Time

	Count *EventCount // where it was asked for and done in time; nil otherwise
}

// ID is the public id.
func (v *SavedView) ID() string { return viewPrefix + hex.EncodeToString(v.Key[:]) }

// SavedViewInput is what is saved; nil fields of a change stay as they are.
type SavedViewInput struct {
	Name     *string
	List     *string // when creating
	Query    *string // checked by whoever knows the list's parameters
	Mine     *bool   // for the user alone
	Position *int    // place among the others, from 1; the last when creating
}

const viewSelect = `select v.id, coalesce(v.tenant_key, 0), coalesce(t.id, ''), coalesce(v.user_id, '00000000-0000-0000-0000-000000000000'), coalesce(u.name, ''), v.list, v.name, v.query, v.position,
	v.created_by, v.created_at, v.updated_at from saved_views v left join tenants t on t.key = v.tenant_key left join users u on u.id = v.user_id`

func scanView(row pgx.CollectableRow) (*SavedView, error) {
	v := &SavedView{}
	err := row.Scan(&v.Key, &v.TenantKey, &v.TenantID, &v.UserID, &v.Owner, &v.List, &v.Name, &v.Query, &v.Position, &v.CreatedBy,
		&v.CreatedAt, &v.UpdatedAt)
	return v, err
}

// viewsOf are the conditions for the views of a tenant, or the operators', that a user sees: shared ones, and their own.
func viewsOf(q *query, scope Scope, user uuid.UUID) {
	if scope.all {
		q.and("v.tenant_key is null")
	} else {
		q.and("v.tenant_key = ?", scope.key)
	}
	q.and("(v.user_id is null or v.user_id = ?)", user)
}

// SavedViews lists the views of the scope's tenant, or of the operators: the shared ones first, then the user's own.
func (s *Store) SavedViews(ctx context.Context, scope Scope, user uuid.UUID, list string) ([]*SavedView, error) {
	s = s.root()
	if list != "" && list != ViewEvents {
		return nil, Invalid("list", "must be "+ViewEvents)
	}
	q := newQuery()
	viewsOf(q, scope, user)
	if list != "" {
		q.and("v.list = ?", list)
	}
	rows, err := s.pool.Query(ctx, viewSelect+q.sql()+" order by v.user_id is not null, v.list, v.position, v.id", q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanView)
}

// SavedView returns a view that a user sees. Operators see those of all tenants.
func (s *Store) SavedView(ctx context.Context, scope Scope, user uuid.UUID, id string) (*SavedView, error) {
	s = s.root()
	return savedView(ctx, s.pool, scope, user, id, "")
}

func savedView(ctx context.Context, db querier, scope Scope, user uuid.UUID, id, lock string) (*SavedView, error) {
	key, _ := parsePrefixed(viewPrefix, id)
	q := newQuery()
	q.and("v.id = ?", key)
	if !scope.all {
		q.and("v.tenant_key = any(?)", scope.keys())
	}
	q.and("(v.user_id is null or v.user_id = ?)", user)
	rows, err := db.Query(ctx, viewSelect+q.sql()+lock, q.args...)
	if err != nil {
		return nil, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, scanView)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("There is no saved view %q.", cut(id, 80))
	}
	return v, err
}

// apply puts what is given into the view.
func (in SavedViewInput) apply(v *SavedView, user uuid.UUID) error {
	bad := problems{}
	if in.Name != nil {
		v.Name = strings.TrimSpace(*in.Name)
	}
	if v.Name == "" {
		bad.add("name", "is required")
	}
	checkText("name", v.Name, maxViewName, bad)
	if in.Query != nil {
		v.Query = *in.Query
	}
	checkText("query", v.Query, maxViewQuery, bad)
	if in.Position != nil && (*in.Position < 1 || *in.Position > maxViews) {
		bad.add("position", fmt.Sprintf("must be between 1 and %d", maxViews))
	}
	if in.Mine != nil {
		switch {
		case !*in.Mine:
			v.UserID = uuid.Nil
		case user == uuid.Nil:
			bad.add("mine", "is for users who have logged in; leave it out to share the view")
		default:
			v.UserID = user
		}
	}
	return bad.err()
}

func (v *SavedView) snapshot() *snapshot {
	s := newSnapshot()
	s.set("name", v.Name)
	s.set("list", v.List)
	s.set("query", v.Query)
	s.set("position", v.Position)
	s.set("shared", v.UserID == uuid.Nil)
	return s
}

// auditScope is whose log tells of changes of the view.
func (v *SavedView) auditScope() Scope { return ownerScope(v.TenantKey) }

// SaveView saves a view of the scope's tenant, or of the operators.
func (s *Store) SaveView(ctx context.Context, scope Scope, user uuid.UUID, actor string, in SavedViewInput) (*SavedView, error) {
	s = s.root()
	v := &SavedView{Key: uuid.Must(uuid.NewV7()), TenantKey: scope.key, List: ViewEvents, CreatedBy: actor}
	if in.List != nil && *in.List != ViewEvents {
		return nil, Invalid("list", "must be "+ViewEvents)
	}
	if err := in.apply(v, user); err != nil {
		return nil, err
	}
	err := s.InTx(ctx, func(tx *Tx) error {
		beside, err := lockViews(ctx, tx, v)
		if err != nil {
			return err
		}
		if err := room(beside, v); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx,
			`insert into saved_views (id, tenant_key, user_id, list, name, query, position, created_by) values ($1, $2, $3, $4, $5, $6, 0, $7)`,
			v.Key, keyOrNil(v.TenantKey), idOrNil(v.UserID), v.List, v.Name, v.Query, text(v.CreatedBy)); err != nil {
			return err
		}
		if v.Position, err = placeView(ctx, tx, beside, v, in.Position); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: v.auditScope(), Action: "view.create", Object: v.ID(),
			Changes: (*snapshot)(nil).changes(v.snapshot())})
	})
	if err != nil {
		return nil, err
	}
	return s.SavedView(ctx, scope, user, v.ID())
}

// ChangeView changes a view that the user sees.
func (s *Store) ChangeView(ctx context.Context, scope Scope, user uuid.UUID, id string, in SavedViewInput) (*SavedView, error) {
	s = s.root()
	err := s.InTx(ctx, func(tx *Tx) error {
		v, err := savedView(ctx, tx, scope, user, id, " for update of v")
		if err != nil {
			return err
		}
		before, owner := v.snapshot(), v.UserID
		if err := in.apply(v, user); err != nil {
			return err
		}
		beside, err := lockViews(ctx, tx, v)
		if err != nil {
			return err
		}
		if owner != v.UserID {
			if err := room(beside, v); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "update saved_views set user_id = $2, name = $3, query = $4, updated_at = now() where id = $1", v.Key,
			idOrNil(v.UserID), v.Name, v.Query); err != nil {
			return err
		}
		if in.Position != nil || owner != v.UserID {
			if v.Position, err = placeView(ctx, tx, beside, v, in.Position); err != nil {
				return err
			}
		}
		changes := before.changes(v.snapshot())
		if len(changes) == 0 {
			return nil
		}
		return tx.Audit(ctx, AuditEntry{Scope: v.auditScope(), Action: "view.update", Object: v.ID(), Changes: changes})
	})
	if err != nil {
		return nil, err
	}
	return s.SavedView(ctx, scope, user, id)
}

// DeleteView deletes a view that the user sees.
func (s *Store) DeleteView(ctx context.Context, scope Scope, user uuid.UUID, id string) error {
	s = s.root()
	return s.InTx(ctx, func(tx *Tx) error {
		v, err := savedView(ctx, tx, scope, user, id, " for update of v")
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from saved_views where id = $1", v.Key); err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: v.auditScope(), Action: "view.delete", Object: v.ID(), Detail: map[string]any{"name": v.Name}})
	})
}

// lockViews returns the views beside one, in their order. Nobody else changes any until the transaction ends, so that the limit
// holds and each has a place of its own.
func lockViews(ctx context.Context, tx *Tx, v *SavedView) ([]uuid.UUID, error) {
	if _, err := tx.Exec(ctx, "lock table saved_views in share row exclusive mode"); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx,
		`select id from saved_views where tenant_key is not distinct from $1 and user_id is not distinct from $2 and list = $3 and id <> $4 order by position, id`,
		keyOrNil(v.TenantKey), idOrNil(v.UserID), v.List, v.Key)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// room refuses a view for which there is no room.
func room(beside []uuid.UUID, v *SavedView) error {
	if len(beside) < maxViews {
		return nil
	}
	return conflict("There are %d %s views, which is the limit. Delete one.", maxViews, map[bool]string{true: "shared",
		false: "of your own"}[v.UserID == uuid.Nil])
}

// placeView gives a view its place among those beside it: position, or the last one for nil.
func placeView(ctx context.Context, tx *Tx, beside []uuid.UUID, v *SavedView, position *int) (int, error) {
	place := len(beside) + 1
	if position != nil {
		place = min(*position, place)
	}
	order := slices.Insert(slices.Clone(beside), place-1, v.Key)
	_, err := tx.Exec(ctx,
		"update saved_views v set position = o.n from unnest($1::uuid[]) with ordinality o (id, n) where v.id = o.id and v.position <> o.n", order)
	return place, err
}

func keyOrNil(key int64) *int64 {
	if key == 0 {
		return nil
	}
	return &key
}

func idOrNil(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
