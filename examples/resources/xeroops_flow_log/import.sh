# The id of the flow log.
terraform import xeroops_flow_log.main fl-0a1b2c3d4e5f60718
