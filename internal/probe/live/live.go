// SPDX-License-Identifier: Apache-2.0

// Package live adds up what looks at open connections say of their clients, and what open and
// closed connections say of the services that they went to. Whoever looks at the connections
// lets it take each look, so that nobody looks twice.
package live
