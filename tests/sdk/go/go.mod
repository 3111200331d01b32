// A module of its own: what it requires is not to be had from every module proxy. tests/sdk/go.test.mjs replaces it with the
// checkout that OUTPOST_GO names.
module github.com/waybill-dev/waybill/tests/sdk/go

go 1.25.10
