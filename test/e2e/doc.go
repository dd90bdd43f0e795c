// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the built collector with real servers and clients in network
// namespaces of its own: what nginx, curl and ab did must stand in the files that a
// second collector wrote. It needs root; its tests carry the build tag privileged.
package e2e
