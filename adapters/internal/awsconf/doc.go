// Package awsconf is what the destination types of AWS have in common: the fields, the credentials, an HTTP client that
// goes through the guarded dialer, the words for errors, and the connection check.
//
// The services themselves are spoken to with the AWS SDK for Go. It brings the signature, the wire formats and the
// endpoints of every partition; what this package takes away from it are its retries (a Send sends at most once), its
// HTTP client (proxies of the environment, unguarded addresses, unlimited answers) and its search for settings in files
// and in the environment, which would be those of the server and not the tenant's.
package awsconf
