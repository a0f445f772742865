package clusterobject

import (
	"context"
	"fmt"
	"maps"
	"slices"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
)

// operators returns the users of the registry whose passwords operators have, sorted;
// none if the cluster has no registry.
func (o *Objects) operators() []string {
	if !slices.Contains(o.spec.Roles(), model.RoleManagement) {
		return nil
	}
	return slices.Sorted(maps.Keys(model.OperatorPasswords))
}

// staleOperatorCredentials returns the operators' credentials that do not exist, as in a
// cluster of an earlier release, or are not those that were written.
func (o *Objects) staleOperatorCredentials(ctx context.Context) (map[string]credentialsObject, error) {
	stale := slices.DeleteFunc(o.operators(), func(user string) bool {
		key := o.layout.OperatorCredentials(user)
		return o.actual[key] != "" && o.actual[key] == o.records.etag(key)
	})
	if len(stale) == 0 {
		return nil, nil
	}
	management, err := o.readEnv(ctx, o.layout.Credentials(model.RoleManagement))
	if err != nil {
		return nil, err
	}
	objects := map[string]credentialsObject{}
	return objects, o.addOperatorCredentials(objects, management, stale...)
}

// addOperatorCredentials adds the objects with the passwords of users of the registry, so
// that an operator need not read the credentials of management. They are written with
// those always: their content follows from theirs, so no version of it has to be kept.
func (o *Objects) addOperatorCredentials(objects map[string]credentialsObject, management secrets, users ...string) error {
	for _, user := range users {
		variable := model.OperatorPasswords[user]
		password, exists := management[variable]
		if !exists {
			continue // somebody removed it; raising internal_credentials_version makes a new one
		}
		text, err := envfile.Format(secrets{variable: password})
		if err != nil {
			return fmt.Errorf("credentials of operators (%s): %w", user, err)
		}
		key := o.layout.OperatorCredentials(user)
		o.records.remove(key) // if only management's are written, the next apply writes it
		objects[key] = credentialsObject{text: text}
	}
	return nil
}
