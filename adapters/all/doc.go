// Package all registers every destination type of this module, for whoever imports it without a name. The list of
// imports in all.go is generated from the folders beside this one, so that adding a type needs no edit here; so are the
// pages in docs/destinations, from what the types say about themselves.
//
// The order matters: the pages are drawn from the types that all.go imports.
package all

//go:generate go run gen.go
//go:generate go run gendocs.go
