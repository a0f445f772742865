// Package lint holds checks of the repository itself, as tests that run in
// `make check`: the import rules between components and the English of
// comments, messages and documentation.
package lint
