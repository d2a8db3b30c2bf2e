"""Hard masks to soft cut-outs: trimap, closed-form alpha, foreground colours, compositing."""
