package models

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// uuids is a uuid[] as the path of events sends it. Of a plain slice pgx finds out element by element, by reflection, that each can
// be made a text, and reads that text again: 20 allocations. A single one goes as [16]byte.
type uuids []uuid.UUID

// Dimensions implements pgtype.ArrayGetter.
func (a uuids) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(a)), LowerBound: 1}}
}

// Index implements pgtype.ArrayGetter.
func (a uuids) Index(i int) any { return (*uuidParam)(&a[i]) }

// IndexType implements pgtype.ArrayGetter.
func (uuids) IndexType() any { return (*uuidParam)(nil) }

type uuidParam uuid.UUID

// UUIDValue implements pgtype.UUIDValuer.
func (p *uuidParam) UUIDValue() (pgtype.UUID, error) { return pgtype.UUID{Bytes: *p, Valid: true}, nil }
