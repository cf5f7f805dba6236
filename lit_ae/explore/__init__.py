"""The web page of a run's latent space. Nothing here is imported until `lit_ae explore` is called."""
