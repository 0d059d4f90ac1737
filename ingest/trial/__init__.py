"""Records of a topic that Freshet does not read yet become a proposal: which format they have, which field is what."""
