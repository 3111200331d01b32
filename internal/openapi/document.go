// Package openapi holds the parts of an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0) that Waybill's API
// needs, and makes JSON Schemas (draft 2020-12) out of Go types. It knows nothing of Waybill.
package openapi

import (
	"bytes"
	"encoding/json"
)

// Version is the version of OpenAPI in which documents are written.
const Version = "3.1.0"

// Document is the root of a description. Components are sorted by name when printed, paths stay in their order.
type Document struct {
	OpenAPI    string                `json:"openapi"`
	Info       Info                  `json:"info"`
	Servers    []Server              `json:"servers,omitempty"`
	Security   []Security            `json:"security,omitempty"`
	Tags       []Tag                 `json:"tags,omitempty"`
	Paths      Map[*Map[*Operation]] `json:"paths"` // by path ("/events/{event}"), then by method in lower case
	Components Components            `json:"components"`
}

// Info says what the document describes.
type Info struct {
	Title       string   `json:"title"`
	Version     string   `json:"version"`
	Summary     string   `json:"summary,omitempty"`
	Description string   `json:"description,omitempty"`
	License     *License `json:"license,omitempty"`
}

// License is what the API's code is licensed under; Identifier is one of SPDX.
type License struct {
	Name       string `json:"name"`
	Identifier string `json:"identifier,omitempty"`
}

// Server is an address below which the paths are.
type Server struct {
	URL         string `json:"url"`
	Description string `json:"description,omitempty"`
}

// Security names a scheme of the components; the list of scopes is empty for other schemes than OAuth's.
type Security map[string][]string

// Tag groups operations.
type Tag struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// Components are what the rest of the document refers to.
type Components struct {
	Schemas         map[string]*Schema         `json:"schemas,omitempty"`
	Responses       map[string]*Response       `json:"responses,omitempty"`
	Parameters      map[string]*Parameter      `json:"parameters,omitempty"`
	Headers         map[string]*Header         `json:"headers,omitempty"`
	SecuritySchemes map[string]*SecurityScheme `json:"securitySchemes,omitempty"`
}

// SecurityScheme is a way to say who calls.
type SecurityScheme struct {
	Type         string `json:"type"`
	Scheme       string `json:"scheme,omitempty"`
	BearerFormat string `json:"bearerFormat,omitempty"`
	Description  string `json:"description,omitempty"`
}

// Operation is one method of one path.
type Operation struct {
	ID          string         `json:"operationId"`
	Summary     string         `json:"summary"`
	Description string         `json:"description,omitempty"`
	Tags        []string       `json:"tags,omitempty"`
	Scope       string         `json:"x-scope,omitempty"` // what the caller's key must be allowed to do; empty where anybody may call
	Security    *[]Security    `json:"security,omitempty"`
	Parameters  []*Parameter   `json:"parameters,omitempty"`
	RequestBody *RequestBody   `json:"requestBody,omitempty"`
	Responses   Map[*Response] `json:"responses"` // by status, or "default"
}

// Parameter is a part of a request beside its body. A reference has nothing but Ref.
type Parameter struct {
	Ref         string  `json:"$ref,omitempty"`
	Name        string  `json:"name,omitempty"`
	In          string  `json:"in,omitempty"` // path, query or header
	Description string  `json:"description,omitempty"`
	Required    bool    `json:"required,omitempty"`
	Style       string  `json:"style,omitempty"`
	Explode     *bool   `json:"explode,omitempty"`
	Schema      *Schema `json:"schema,omitempty"`
	Example     any     `json:"example,omitempty"`
}

// RequestBody is what a request carries.
type RequestBody struct {
	Description string      `json:"description,omitempty"`
	Required    bool        `json:"required,omitempty"`
	Content     Map[*Media] `json:"content"`
}

// Media is a body in one of its formats.
type Media struct {
	Schema  *Schema `json:"schema,omitempty"`
	Example any     `json:"example,omitempty"`
}

// Response is an answer with one status. A reference has nothing but Ref.
type Response struct {
	Ref         string             `json:"$ref,omitempty"`
	Description string             `json:"description,omitempty"`
	Headers     map[string]*Header `json:"headers,omitempty"`
	Content     *Map[*Media]       `json:"content,omitempty"`
}

// Header is a header of an answer. A reference has nothing but Ref.
type Header struct {
	Ref         string  `json:"$ref,omitempty"`
	Description string  `json:"description,omitempty"`
	Schema      *Schema `json:"schema,omitempty"`
}

// Map is a map that keeps the order in which its keys were set.
type Map[T any] struct {
	keys   []string
	values map[string]T
}

// Set adds or replaces a value.
func (m *Map[T]) Set(key string, value T) {
	if m.values == nil {
		m.values = map[string]T{}
	}
	if _, known := m.values[key]; !known {
		m.keys = append(m.keys, key)
	}
	m.values[key] = value
}

// Get returns the value of a key, or the zero value.
func (m *Map[T]) Get(key string) T { return m.values[key] }

// Keys lists the keys in their order.
func (m *Map[T]) Keys() []string { return m.keys }

// MarshalJSON prints an object with its members in order.
func (m Map[T]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, k := range m.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.values[k])
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
