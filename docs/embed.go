// Package docs holds the texts that pages show as help.
package docs

import _ "embed" // the texts

// Filters describes the filter language, in Markdown.
//
//go:embed filters.md
var Filters string
