package clusterobject

import (
	"context"
	"fmt"
	"slices"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
)

// hasDeployCredentials reports whether the cluster has a registry to deploy through.
func (o *Objects) hasDeployCredentials() bool {
	return slices.Contains(o.spec.Roles(), model.RoleManagement)
}

// staleDeployCredentials returns the deploy credentials if they do not exist, as in a
// cluster of an earlier release, or are not those that were written.
func (o *Objects) staleDeployCredentials(ctx context.Context) (map[string]credentialsObject, error) {
	key := o.layout.DeployCredentials()
	if etag := o.actual[key]; !o.hasDeployCredentials() || etag != "" && etag == o.records.etag(key) {
		return nil, nil
	}
	management, err := o.readEnv(ctx, o.layout.Credentials(model.RoleManagement))
	if err != nil {
		return nil, err
	}
	objects := map[string]credentialsObject{}
	return objects, o.addDeployCredentials(objects, management)
}

// addDeployCredentials adds the object with the registry's deploy password, so that
// a deployer need not read the credentials of management. It is written with them
// always: its content follows from theirs, so no version of it has to be kept.
func (o *Objects) addDeployCredentials(objects map[string]credentialsObject, management secrets) error {
	password, exists := management[model.RedisDeployPassword]
	if !exists {
		return nil // the cluster has no management node
	}
	text, err := envfile.Format(secrets{model.RedisDeployPassword: password})
	if err != nil {
		return fmt.Errorf("deploy credentials: %w", err)
	}
	key := o.layout.DeployCredentials()
	o.records.remove(key) // if only management's are written, the next apply writes it
	objects[key] = credentialsObject{text: text}
	return nil
}
