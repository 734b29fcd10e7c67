"""autoretouch-watcher: gets every image on a studio's shares to AutoRetouch, once and whole."""

__version__ = "0.1.0"
