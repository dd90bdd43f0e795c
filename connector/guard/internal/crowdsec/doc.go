// SPDX-License-Identifier: Apache-2.0

// Package crowdsec follows the decisions of a CrowdSec local API, as a bouncer does.
//
// The API's stream tells what is new and what was deleted since the last request of the same key.
// An answer that was lost is never repeated. So after each failure, each long pause, from time
// to time and when asked, everything is asked for again, and replaces what was known. Between
// such answers every decision is known by its number: one address can have several.
//
// While the API does not answer, decisions stay until their own end.
package crowdsec
