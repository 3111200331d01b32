// Package jobs is the work that happens in the background, on River's job queue: delivering events, acting upon those that
// wait, bulk retries, notices, keeping the database tidy. It decides and sends; what it reads and writes is in package
// models.
package jobs
