// Package adaptertest holds what every destination type is tested with: a conformance suite that proves the contract of
// package adapters (Run), and a programmable HTTP server that records what it gets byte for byte (Sink).
package adaptertest
