package fakeaws

import (
	"net/http"
	"strings"
)

// dlmAction returns the API action of a request to Data Lifecycle Manager, and the
// policy that it is about.
func dlmAction(r *http.Request) (action, policy string) {
	collection, policy, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	one := policy != ""
	switch {
	case collection == "tags":
		return map[string]string{http.MethodGet: "ListTagsForResource", http.MethodPost: "TagResource", http.MethodDelete: "UntagResource"}[r.Method], policy
	case collection != "policies":
		return "", ""
	case r.Method == http.MethodGet && !one:
		return "GetLifecyclePolicies", ""
	}
	return map[string]string{http.MethodGet: "GetLifecyclePolicy", http.MethodPost: "CreateLifecyclePolicy",
		http.MethodPatch: "UpdateLifecyclePolicy", http.MethodDelete: "DeleteLifecyclePolicy"}[r.Method], policy
}
