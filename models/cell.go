package models

import (
	"errors"
	"fmt"
	"time"
)

// A cell is a database of its own, an ordinary PostgreSQL, that holds some of the tenants. The database of DATABASE_URL, home, is a
// cell as well, called HomeCell. It also holds what belongs to nobody in particular: people, API keys, the catalogue of topics, the
// server's settings, and of each tenant a row that says in which cell it is. A tenant has the same key in all cells, and what other
// keys a cell gives out has the number of the cell in its upper bits, so that rows move without being rewritten.

// HomeCell is the name of the database of DATABASE_URL among the cells.
const HomeCell = "main"

// NameOfCell is the name of a cell, where empty stands for home.
func NameOfCell(cell string) string {
	if cell == "" {
		return HomeCell
	}
	return cell
}

// cellShift is how far a cell's number is shifted in the keys that it gives out.
const cellShift = 48

// Cell is a further database for tenants.
type Cell struct {
	Number     int
	Name       string
	Address    string // connection string
	DrainingAt *time.Time
	CreatedAt  time.Time
}

// firstKey is the first key that a cell gives out.
func (c *Cell) firstKey() int64 { return int64(c.Number)<<cellShift + 1 }

// ElsewhereError is that a tenant's rows are not in the database that was asked. Nothing was done.
type ElsewhereError struct {
	TenantID string
	Cell     string // where they are; empty for home
}

func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("the tenant %q is in the cell %q", e.TenantID, e.Cell)
}

// IsMoving reports whether an error is that a tenant is elsewhere, or goes there at this moment. Nothing was done.
func IsMoving(err error) bool {
	var gone *ElsewhereError
	var held *HeldError
	return errors.As(err, &gone) || errors.As(err, &held)
}

// HeldError is that nothing of a tenant's is written for a moment, since it goes to another cell. Nothing was done.
type HeldError struct{ TenantID string }

func (e *HeldError) Error() string {
	return fmt.Sprintf("the tenant %q goes to another cell", e.TenantID)
}
