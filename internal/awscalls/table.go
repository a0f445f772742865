// Package awscalls has what is known of the AWS calls that the released programs make:
// which errors and which consistency AWS documents, how the code handles them, which
// test shows it, and which permissions a call needs. The documentation and the
// operators' policies are generated from it, and tests inject its errors.
package awscalls

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// TablePath is the file of the table, relative to the module.
const TablePath = "internal/awscalls/calls.yaml"

//go:embed calls.yaml
var tableText []byte

// Call is a row of the table.
type Call struct {
	IAM    *[]string // IAM actions; nil means the action of the same name
	Repeat string    // what a repeated call does, and when its result is visible
	Errors []Error
	Test   string // a test that makes the call
}

// Error is an error of a call that the code distinguishes.
type Error struct {
	Code    string
	Status  int
	Message string // what the code relies on beside the code
	Retry   bool   // the call is repeated until it succeeds
	Then    string // what the code does
	Test    string // a test in which it occurs; "" is the test of the whole table
}

// Table has the calls by action, such as ec2:RunInstances, and in ec2:* what is
// common to all calls of a service.
type Table map[string]Call

// Load returns the table. It returns an error for rows that are not complete.
func Load() (Table, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(tableText))
	decoder.KnownFields(true)
	var table Table
	if err := decoder.Decode(&table); err != nil {
		return nil, fmt.Errorf("read %s: %w", TablePath, err)
	}
	for action, call := range table {
		common := strings.HasSuffix(action, ":*")
		if !common && (call.Repeat == "" || call.Test == "") {
			return nil, fmt.Errorf("%s: %s needs repeat and test", TablePath, action)
		}
		for _, e := range call.Errors {
			if e.Code == "" || e.Status == 0 || e.Then == "" || !e.Retry && e.Test == "" {
				return nil, fmt.Errorf("%s: error %q of %s needs code, status, then, and unless it is retried test", TablePath, e.Code, action)
			}
		}
	}
	return table, nil
}

// Permissions returns the IAM actions that an action needs.
func (t Table) Permissions(action string) []string {
	if given := t[action].IAM; given != nil {
		return *given
	}
	return []string{action}
}

// Tests returns the names of all tests that the table names.
func (t Table) Tests() []string {
	var names []string
	for _, call := range t {
		for _, e := range call.Errors {
			names = append(names, e.Test)
		}
		names = append(names, call.Test)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// Check returns an error for each call of the code without a row, and each row
// without a call.
func (t Table) Check(sites []Site) []error {
	var problems []error
	called := map[string]bool{}
	for _, s := range sites {
		if _, known := t[s.Action]; !known && !called[s.Action] {
			problems = append(problems, fmt.Errorf("%s:%d calls %s, which has no row in %s; add\n\n%s:\n  repeat: what a repeated call does, and when its result is visible (AWS's reference)\n"+
				"  errors:\n    - {code: CODE, status: 400, then: what the code does, test: TestName}\n  test: TestName\n\n"+
				"with iam: [ACTION] if its IAM action has another name, and run make generate (CONTRIBUTING.md, \"Add a call to AWS\")",
				s.File, s.Line, s.Action, TablePath, s.Action))
		}
		called[s.Action] = true
	}
	for action := range t {
		if !called[action] && !strings.HasSuffix(action, ":*") {
			problems = append(problems, fmt.Errorf("%s: no program calls %s any more; remove the row, and the call from internal/awsclient/ec2.go", TablePath, action))
		}
	}
	return problems
}
