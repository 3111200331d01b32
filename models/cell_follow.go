package models

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// cellsVersion is the setting that rises when there are other cells than before, or a tenant is in another one. Processes look for it
// with the server's settings.
const cellsVersion = "cells_version"

// maxPlaces is how many tenants' places are remembered at most.
const maxPlaces = 200_000

// knownCells are the cells, and where tenants are, as this process knows it. While there are no cells a request costs one look at a
// pointer, and nothing is remembered.
type knownCells struct {
	list      atomic.Pointer[[]Cell]
	reach     func(cell string) (*Store, error)
	operators atomic.Int64 // version of the operators' rules, channels and subscriptions
	topics    atomic.Int64 // version of the changes of topics

	mu      sync.Mutex // of who reads them
	version int64      // of what was read last

	places   sync.RWMutex
	of       map[string]string // cells by the tenant's id; "" for home
	forgiven int64             // rises each time that places are forgotten, so that nobody keeps what they read before
}

// root is the store of home.
func (s *Store) root() *Store {
	if s.home != nil {
		return s.home
	}
	return s
}

// ReachCells says how the stores of cells are reached from home's. The caller of open keeps nothing open.
func (s *Store) ReachCells(open func(cell string) (*Store, error)) { s.cells.reach = open }

// storeOf is the store of the cell where a tenant is, seen from home; of a cell it is that itself.
func (s *Store) storeOf(ctx context.Context, tenantID string) (*Store, error) {
	if s.home != nil || s.Cells() == nil {
		return s, nil
	}
	cell, err := s.Place(ctx, tenantID)
	if err != nil || cell == "" {
		return s, err
	}
	return s.cells.reach(cell)
}

// CellName is what the store's database is called among the cells.
func (s *Store) CellName() string {
	if s.home == nil {
		return HomeCell
	}
	return s.cell
}

// Cells are the further databases as this process knows them; nil when there are none.
func (s *Store) Cells() []Cell {
	if l := s.root().cells.list.Load(); l != nil {
		return *l
	}
	return nil
}

// notHere is why nothing of a tenant's is written in this database, by its row; nil when it may be.
func (s *Store) notHere(tenantID, cell string, held bool) error {
	switch {
	case cell == HomeCell:
		return &ElsewhereError{TenantID: tenantID}
	case cell != "":
		return &ElsewhereError{TenantID: tenantID, Cell: cell}
	case held:
		return &HeldError{TenantID: tenantID}
	}
	return nil
}

// KnowCells reads the cells, if something has changed since they were read last.
func (s *Store) KnowCells(ctx context.Context) error {
	k := &s.cells
	k.mu.Lock()
	defer k.mu.Unlock()
	var version int64
	if _, err := s.Setting(ctx, cellsVersion, &version); err != nil || version == k.version {
		return err
	}
	list, err := s.ListCells(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		k.list.Store(nil)
	} else {
		if err := s.catalogue.read(ctx, s); err != nil {
			return err
		}
		k.list.Store(&list)
	}
	s.forgetPlaces()
	k.version = version
	return nil
}

// knows reports whether the cells were read since they changed last.
func (k *knownCells) knows(version int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.version == version
}

// noteCells tells all processes that there are other cells now, or that a tenant is in another one.
func noteCells(ctx context.Context, tx pgx.Tx) error {
	return raiseSetting(ctx, tx, cellsVersion)
}

// Place is the cell where a tenant is; empty for home, and for a tenant that there is not.
func (s *Store) Place(ctx context.Context, tenantID string) (string, error) {
	k := &s.cells
	k.places.RLock()
	cell, has := k.of[tenantID]
	k.places.RUnlock()
	if has {
		return cell, nil
	}
	cell, _, _, err := s.PlaceNow(ctx, tenantID)
	return cell, err
}

// PlaceNow is Place as home's database says now, with the tenant's key; exists is false when there is no such tenant.
func (s *Store) PlaceNow(ctx context.Context, tenantID string) (cell string, key int64, exists bool, err error) {
	k := &s.cells
	k.places.RLock()
	began := k.forgiven
	k.places.RUnlock()
	err = s.pool.QueryRow(OnPrimary(ctx), "select coalesce(cell, ''), key from tenants where id = $1 and deleted_at is null",
		tenantID).Scan(&cell, &key)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", 0, false, nil
	}
	if err != nil {
		return "", 0, false, err
	}
	k.places.Lock()
	defer k.places.Unlock()
	if k.forgiven == began {
		if k.of == nil || len(k.of) >= maxPlaces {
			k.of = map[string]string{}
		}
		k.of[tenantID] = cell
	}
	return cell, key, true, nil
}

// ForgetPlace forgets where a tenant is: somebody was told that it is there no more.
func (s *Store) ForgetPlace(tenantID string) {
	k := &s.cells
	k.places.Lock()
	defer k.places.Unlock()
	delete(k.of, tenantID)
	k.forgiven++
}

func (s *Store) forgetPlaces() {
	k := &s.cells
	k.places.Lock()
	defer k.places.Unlock()
	k.of = nil
	k.forgiven++
}

// catalogueFresh is for how long the names of topics are believed when one is asked for that is not among them.
const catalogueFresh = 50 * time.Millisecond

// catalogue are the names of home's topics, for events that are accepted in cells: a transaction there cannot read them.
type catalogue struct {
	names atomic.Pointer[[]string]

	mu sync.Mutex
	at time.Time // when they were read last
}

func (c *catalogue) list() []string {
	if l := c.names.Load(); l != nil {
		return *l
	}
	return nil
}

func (c *catalogue) read(ctx context.Context, home *Store) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readLocked(ctx, home)
}

func (c *catalogue) readLocked(ctx context.Context, home *Store) error {
	rows, err := home.pool.Query(OnPrimary(ctx), acceptTopics)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	c.names.Store(&names)
	c.at = time.Now()
	return nil
}

// look reads the names once more before an event is refused for its topic: it may be new. While home does not answer, what is
// known decides.
func (c *catalogue) look(ctx context.Context, home *Store, in *PublishInput) {
	known := func() bool {
		names := c.list()
		return in.Topic == "" || OwnTopic(in.Topic) || len(names) == 0 || slices.Contains(names, in.Topic) ||
			slices.Contains(home.Rules().Topics, in.Topic)
	}
	if known() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known() || time.Since(c.at) < catalogueFresh {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = c.readLocked(ctx, home)
}
