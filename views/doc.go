// Package views draws the pages. It is values in, HTML out: a page is a templ component that takes a struct of what it
// shows; nothing here reads a request, the database or the clock. Each resource has one file of components and beside it
// a Go file of the same name with the structs they take.
//
// Three things hold on every page. Every control is a link or a form, so that all works without JavaScript. Nothing is
// styled or scripted inline, so that the strict Content-Security-Policy holds. And no state is told by colour alone.
package views
