package cluster

// Environment variables of a node. User-data writes the first group to
// instance.env and the provider the second to instance-config.env; both end up
// in /etc/environment (docs/design.md#boot).
const (
	EnvHostname      = "HOSTNAME" // node name
	EnvRole          = "INSTANCE_ROLE"
	EnvAddress       = "STATIC_IP" // private IPv4
	EnvRegion        = "AWS_REGION"
	EnvCluster       = "XEROOPS_CLUSTER"        // also the CLI's --cluster
	EnvUploadsBucket = "XEROOPS_UPLOADS_BUCKET" // also the CLI's --uploads-bucket

	EnvNode              = "XEROOPS_NODE" // node name
	EnvVPNCIDR           = "XEROOPS_VPN_CIDR"
	EnvPGDumpBucket      = "XEROOPS_PGDUMP_BUCKET"
	EnvWALGBucket        = "XEROOPS_WALG_BUCKET"
	EnvLogsBucket        = "XEROOPS_LOGS_BUCKET"
	EnvDataVolume        = "XEROOPS_DATA_VOLUME"        // EBS volume ID; absent on a node without one
	EnvManagementAddress = "XEROOPS_MANAGEMENT_ADDRESS" // private IPv4
)

// Environment variables of an application's unit, besides PORT and those of the
// node.
const (
	EnvApplication = "XEROOPS_APPLICATION"
	EnvVersion     = "XEROOPS_VERSION"
	EnvRoutePrefix = "XEROOPS_ROUTE_PREFIX"
	EnvTrial       = "XEROOPS_TRIAL" // 1 in a trial run, which serves no traffic
)

// Environment variables of an image build.
const (
	EnvImageRole    = "XEROOPS_ROLE"
	EnvBundle       = "XEROOPS_BUNDLE"        // directory of the role's unpacked bundle
	EnvBackupEngine = "XEROOPS_BACKUP_ENGINE" // pgbackrest or wal-g
)

// Environment variables that operators and developers set.
const (
	EnvVia        = "XEROOPS_VIA"            // command that connects the CLI to the registry
	EnvLabName    = "XEROOPS_LAB_NAME"       // name of the lab
	EnvLabCache   = "XEROOPS_LAB_CACHE"      // directory of base images and packages
	EnvPacker     = "XEROOPS_PACKER"         // Packer binary
	EnvMotoServer = "XEROOPS_MOTO_SERVER"    // moto_server binary
	EnvBin        = "XEROOPS_BIN"            // directory of this project's binaries
	EnvEdgePort   = "XEROOPS_EDGE_PORT"      // port of 127.0.0.1 on which scripts/up.sh offers the edge
	EnvSetupFor   = "XEROOPS_SETUP_FOR"      // what scripts/setup.sh prepares for: test or up
	EnvDebianTree = "XEROOPS_DEBIAN_TREE"    // Debian tree in which tests run services
	EnvDrills     = "XEROOPS_DRILLS"         // set: run the drills
	EnvSweep      = "XEROOPS_SWEEP"          // full: run every case of the crash sweeps
	EnvSweepWidth = "XEROOPS_SWEEP_PARALLEL" // cases of the provider's sweep that run in parallel
	EnvSweepState = "XEROOPS_SWEEP_STATE"    // file in which a full sweep records the cases that passed
)
