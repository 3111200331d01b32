//go:build race

package app

// raced: the race detector multiplies what memory a process takes.
const raced = true
